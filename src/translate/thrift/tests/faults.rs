//! What files are refused for, and where.

use super::*;

/// Each text with its findings, as [`shown`] writes them, without the name of the file.
#[test]
fn texts_are_refused_for_this() {
    let table = [
        // Syntax.
        ("struct {", "1:8 a name is expected here, not `{`\n"),
        (
            "struct A { 1: i32 }",
            "1:19 the name of a field is expected here, not `}`\n",
        ),
        (
            "struct A { 1 i32 a }",
            "1:14 `:` is expected here, not `i32`\n",
        ),
        (
            "struct A {\n  1: i32 a\n",
            "3:1 `}` is expected here, not the end of the file\n",
        ),
        (
            "struct A { 1: list<i32 a }",
            "1:24 `>` is expected here, not `a`\n",
        ),
        (
            "strukt A {}",
            "1:1 a definition is expected here (const, typedef, enum, struct, union, \
                         exception, service), not `strukt`\n",
        ),
        (
            "/* no end",
            "1:1 this comment has no end: `*/` is missing\n",
        ),
        (
            "const string A = 'no end",
            "1:18 this literal has no end: its quote is missing\n",
        ),
        (
            "struct A { 1: i32 a\u{a0}}",
            "1:20 the character '\\u{a0}' has no place here\n",
        ),
        (
            "const i32 A = 99999999999999999999",
            "1:15 99999999999999999999 is no number of 64 bits\n",
        ),
        ("const i32 A = 0xZZ", "1:15 0xZZ is no number of 64 bits\n"),
        ("const double A = 1.", "1:18 1. is no number\n"),
        ("struct a.b {}", "1:8 a name has no dots\n"),
        (
            "senum A { 'a' }\nstruct B { 1: x y }",
            "1:1 senum is not taken, as by all tools of today: make it a typedef of string, or an \
          enum\n",
        ),
        (
            "include base",
            "1:9 the name of a file, in quotes, is expected here, not `base`\n",
        ),
        // All faults of a file, each once.
        (
            "struct A {\n  1: i32\n  2: i32 b\n  x: y z\n}\nstruct B { 1: i32 b\n\
          enum C { A = 'a', B, 3 }\nservice S {\n  void f(1 i32 a)\n  void (g)\n  void h()\n}",
            "3:3 the name of a field is expected here, not `2`\n\
          4:4 the name of a field is expected here, not `:`\n\
          7:1 `}` is expected here, not `enum`\n\
          7:14 the number of the value is expected here, not a literal\n\
          7:22 a value of the enum is expected here, not `3`\n\
          9:12 `:` is expected here, not `i32`\n\
          10:8 the name of a function is expected here, not `(`\n",
        ),
        // Numbers.
        (
            "struct A { 32768: i32 a }",
            "1:12 32768 is no id of a field: they have 16 bits\n",
        ),
        (
            "enum A { B = 2147483648 }",
            "1:14 2147483648 is no number of an enum: they have 32 \
                                       bits\n",
        ),
        (
            "enum A { B = 2147483647, C }",
            "1:26 there is no number after that of the value \
                                          before\n",
        ),
        (
            "enum A { B = 010 }",
            "1:14 write this number without zeros in front: compilers disagree \
                                whether it is 10 or octal\n",
        ),
        // Names.
        (
            "struct A { 1: B b, 2: list<c.D> c }",
            "1:15 there is no type `B`\n\
          1:28 there is no type `c.D`: the file includes no `c.thrift`\n",
        ),
        ("struct A {}\nenum A {}", "2:6 1:8 `A` is declared twice\n"),
        (
            "struct A { 1: i32 a, 2: i32 a, 1: i32 b }",
            "1:29 1:19 `a` is declared twice\n1:39 1:19 two fields have the id 1\n",
        ),
        ("enum A { B, C, B }", "1:16 1:10 `B` is declared twice\n"),
        (
            "const i32 A = 1\nconst i32 A = 2",
            "2:11 1:11 `A` is declared twice\n",
        ),
        (
            "service S { void f() i32 f() }",
            "1:26 1:18 `f` is declared twice\n",
        ),
        (
            "service S {} struct A { 1: S s }",
            "1:28 `S` is a service, not a type\n",
        ),
        (
            "typedef A B\ntypedef B A\nstruct C { 1: A a }",
            "1:9 this type refers to itself, or nests deeper than 63\n\
          2:9 this type refers to itself, or nests deeper than 63\n",
        ),
        // Values.
        ("const i8 A = 128", "1:14 128 does not fit into an i8\n"),
        (
            "const bool A = 'x'",
            "1:16 a bool is expected here, not a literal\n",
        ),
        (
            "const i32 A = 1.5",
            "1:15 an i32 is expected here, not a number with a fraction\n",
        ),
        (
            "const list<i32> A = {1: 2}",
            "1:21 a list is expected here, not a map\n",
        ),
        (
            "const string A = '\\x41'",
            "1:18 compilers disagree about an escape in this literal: they all take \\n \\r \\t \
          \\\" \\' \\\\ only\n",
        ),
        (
            "const i32 A = B\nconst i32 B = A",
            "1:15 this value refers to itself, or nests deeper than 63\n\
          2:15 this value refers to itself, or nests deeper than 63\n",
        ),
        (
            "const i32 A = NONE",
            "1:15 there is no constant or value of an enum `NONE`\n",
        ),
        (
            "enum E { A } enum F { A } const E X = E.B const E Y = F.A",
            "1:39 the enum `E` has no value `B`\n1:55 `F.A` is a value of another enum\n",
        ),
        (
            "struct S { 1: i32 a } const S X = { 'b': 1 } const S Y = { 1: 1 } const S Z = 1",
            "1:37 the struct has no field `b`\n\
          1:60 the name of a field is expected here, in quotes\n\
          1:79 the fields of a struct, `{ \"name\": value }`, is expected here, not an integer\n",
        ),
        (
            "struct A { i32 a, 1: i32 b }",
            "1:26 1:16 two fields have the id 1: one without an id has that after the field \
             before it, or 1\n",
        ),
        // A constant's fault is told once, however often it is used.
        (
            "const i32 A = 'a'\nstruct S { 1: i32 a = A, 2: i32 b = A }",
            "1:15 an i32 is expected here, not a literal\n",
        ),
        // Services.
        (
            "service S { oneway i32 f() }",
            "1:24 a oneway function returns nothing: write `oneway void`\n",
        ),
        (
            "exception E {} service S { oneway void f() throws (1: E e) }",
            "1:40 a oneway function cannot throw: nothing is sent back\n",
        ),
        (
            "service S { void f() throws (1: i32 e) }",
            "1:33 only exceptions can be thrown: declare the type as `exception`\n",
        ),
        (
            "service S { void f(1: i32 a) (streaming.mode = 'both') }",
            "1:18 streaming.mode is unary, client, server or bidirectional, not \"both\"\n",
        ),
        (
            "service S { void f() (streaming.mode = 'client') }",
            "1:18 a streaming function has exactly one argument, this one has 0\n",
        ),
        (
            "service S { void f(1: i32 a) (streaming.mode = 'client', streaming.mode = 'server') }",
            "1:18 a function has one streaming.mode only\n",
        ),
        ("service S extends T {}", "1:19 there is no service `T`\n"),
        (
            "service S extends T {} service T extends S {}",
            "1:9 this service extends itself, or more than 63 others\n\
          1:32 this service extends itself, or more than 63 others\n",
        ),
        (
            "service S extends T { void f() } service T { i32 f() }",
            "1:28 1:50 `f` is a function of the extended service too\n",
        ),
    ];
    for (text, expected) in table {
        let findings = read_texts(&[("main.thrift", text)]).expect_err(text);
        let found = shown(&findings).replace("main.thrift:", "");
        assert_eq!(found, expected, "{text}");
        assert!(findings.iter().all(|f| f.severity == Severity::Error));
    }
}

#[test]
fn includes_are_refused_for_this() {
    let table: [(&[(&str, &str)], &str); 5] = [
        (
            &[
                ("main.thrift", "include 'a.thrift'"),
                ("a.thrift", "include 'main.thrift'"),
            ],
            "main.thrift:1:9 a.thrift:1:9 these files include each other in a circle: no compiler \
             takes that\n",
        ),
        (
            &[("main.thrift", "include 'main.thrift'")],
            "main.thrift:1:9 these files include each other in a circle: no compiler takes that\n",
        ),
        (
            &[
                ("main.thrift", "include 'a.thrift'\nstruct {"),
                ("a.thrift", "?"),
            ],
            "main.thrift:2:8 a name is expected here, not `{`\n",
        ),
        (
            &[
                ("main.thrift", "include 'a.thrift' include 'b.thrift'"),
                ("a.thrift", "?"),
                ("b.thrift", "struct A { 1: a.B b }\n!"),
            ],
            "a.thrift:1:1 the character '?' has no place here\n\
             b.thrift:2:1 the character '!' has no place here\n",
        ),
        (
            // Names of an include's includes are not there.
            &[
                ("main.thrift", "include 'a.thrift'\nstruct A { 1: b.B b }"),
                ("a.thrift", "include 'b.thrift'"),
                ("b.thrift", "struct B {}"),
            ],
            "main.thrift:2:15 there is no type `b.B`: the file includes no `b.thrift`\n",
        ),
    ];
    for (texts, expected) in table {
        let findings = read_texts(texts).unwrap_err();
        assert_eq!(shown(&findings), expected, "{texts:?}");
    }
    let findings = read_texts(&[("main.thrift", "include 'no/such.thrift'")]).unwrap_err();
    let found = shown(&findings);
    let expected = "main.thrift:1:9 the include \"no/such.thrift\" is not found: no/such.thrift (";
    assert!(found.starts_with(expected), "{found}");
    let findings = read_texts(&[]).unwrap_err();
    let found = shown(&findings);
    assert!(
        found.starts_with("main.thrift the file cannot be read: "),
        "{found}"
    );
    let not_utf8: Sources = [("main.thrift", b"// ok\n// \xc3\xa9 \xff")]
        .into_iter()
        .collect();
    let findings = read(&[PathBuf::from("main.thrift")], &[], &not_utf8).unwrap_err();
    assert_eq!(
        shown(&findings),
        "main.thrift:2:6 the file is not UTF-8 from here on\n"
    );
}

/// What is small and means something huge is refused, at once.
#[test]
fn everything_is_bounded() {
    let mut typedefs = "typedef map<i32, i32> T0\n".to_owned();
    let mut constants = "const list<i32> C0 = [1, 1]\n".to_owned();
    for i in 1..50 {
        let before = i - 1;
        writeln!(typedefs, "typedef map<T{before}, T{before}> T{i}").unwrap();
        writeln!(constants, "const list<i32> C{i} = [C{before}, C{before}]").unwrap();
    }
    let nested = |what: &str, end: &str| what.repeat(100_000) + "1" + &end.repeat(100_000);
    let many = |n: usize, line: fn(usize) -> String| (0..n).map(line).collect::<String>();
    let table = [
        (
            typedefs + "struct A { 1: T49 a }",
            "the schema is too large",
        ),
        (
            many(100_000, |i| format!("typedef T{} T{i}\n", i + 1)),
            "refers to itself, or nests",
        ),
        (
            many(100_000, |i| format!("const i32 C{i} = C{}\n", i + 1)),
            "refers to itself, or nests",
        ),
        (
            many(3_000, |i| {
                format!("service S{i} extends S{} {{ void f{i}() }}\n", i + 1)
            }),
            "extends itself, or more than",
        ),
        (
            format!("const list<i32> A = {}", nested("[", "]")),
            "nests deeper than 63",
        ),
        (
            format!("struct A {{ 1: {} a }}", nested("list<", ">")),
            "nests deeper than 63",
        ),
        ("{".repeat(1_000_000), "a definition is expected"),
        ("struct A { 1: ".repeat(100_000), "is expected here"),
        (" ".repeat(MAX_FILE + 1), "the file has more than 4 MiB"),
        (
            format!("const string A = '{}", "x".repeat(1_000_000)),
            "this literal has no end",
        ),
    ];
    for (text, expected) in table {
        let start = text.get(..40).unwrap_or_default();
        let findings = read_texts(&[("main.thrift", &text)]).expect_err(start);
        assert!(
            findings.len() <= MAX_FINDINGS,
            "{start}: {}",
            findings.len()
        );
        let found = shown(&findings);
        assert!(found.contains(expected), "{start}: {found}");
        assert!(found.len() < 30_000, "{start}: {}", found.len());
    }
    // Each of these lists is an error of its own, at each level: the type is wrong.
    assert!(read_texts(&[("main.thrift", &constants)]).is_err());
    let files: Vec<(String, String)> = (0..=MAX_FILES)
        .map(|i| {
            (
                format!("f{i}.thrift"),
                format!("include 'f{}.thrift'", i + 1),
            )
        })
        .collect();
    let sources: Sources = files.iter().cloned().collect();
    let findings = read(&[PathBuf::from("f0.thrift")], &[], &sources).unwrap_err();
    assert!(shown(&findings).contains("the schema has more than 1000 files"));
}
