//! What files mean.

use super::*;

/// Each text with the outline of its document.
#[test]
fn texts_mean_this() {
    let table = [
        // Base types, requiredness, and every way to separate.
        (
            "struct A { 1: bool a, 2: required byte b; 3: optional i8 c 4: i16 d, 5: i32 e\n\
             6: i64 f, 7: double g, 8: string h, 9: binary i, 10: uuid j, 11: slist k }",
            "Struct A 1:bool a, 2:required i8 b, 3:optional i8 c, 4:i16 d, 5:i32 e, 6:i64 f, \
             7:double g, 8:string h, 9:binary i, 10:uuid j, 11:string k,\n",
        ),
        // Containers, with what C++ wants to know of them.
        (
            "struct A { 1: list<list<i32>> a, 2: map cpp_type \"M\" <string, set<A>> b,\n\
             3: list<i32> cpp_type 'L' c, 4: list cpp_type 'L' <i32> d }",
            "Struct A 1:list<list<i32>> a, 2:map<string,set<A>> b, 3:list<i32> c, \
             4:list<i32> d,\n",
        ),
        // Typedefs, before and after what they name.
        (
            "typedef C B; typedef map<i32, B> M, struct A { 1: M m } typedef list<A> C",
            "Struct A 1:map<i32,list<Struct>> m,\n",
        ),
        // A file may declare the names of Apache's newer types.
        (
            "typedef string uuid struct slist { 1: uuid a } struct B { 1: slist s }",
            "Struct slist 1:string a,\nStruct B 1:slist s,\n",
        ),
        // The ids that thriftgo gives to fields without one.
        (
            "struct A { i32 a, i32 b, 7: i32 c, i32 d } service S { void f(string a, string b) }",
            "Struct A 1:i32 a, 2:i32 b, 7:i32 c, 8:i32 d,\nS.f void 1:string a, 2:string b,\n",
        ),
        (
            "struct A { -3: i32 a, 0: i32 b, 0010: i32 c, 32767: i32 d }",
            "Struct A -3:i32 a, 0:i32 b, 10:i32 c, 32767:i32 d,\n",
        ),
        // A union's fields are optional.
        (
            "union U { 1: required i32 a, 2: string b } exception E { 1: string message }",
            "Union U 1:optional i32 a, 2:optional string b,\nException E 1:string message,\n",
        ),
        (
            "enum E { A, B = 5, C, D = 0x10; E F = -1, G }",
            "enum E A=0 B=5 C=6 D=16 E=17 F=-1 G=0\n",
        ),
        (
            "enum E { A = 1, B = 1 } enum Empty {}",
            "enum E A=1 B=1\nenum Empty\n",
        ),
        // Words of the language as names, where there is no doubt.
        (
            "struct A { 1: string required, 2: optional string optional; 3: i32 string\n\
             4: i32 service, 5: required list<i32> list } struct async { 1: i32 namespace }\n\
             service S { async async(1: async void) oneway void oneway() }",
            "Struct A 1:string required, 2:optional string optional, 3:i32 string, 4:i32 service, \
             5:required list<i32> list,\nStruct async 1:i32 namespace,\n\
             S.async async 1:async void,\nS.oneway oneway void\n",
        ),
        // Functions.
        (
            "exception E {} exception F {} service S {\n\
             i32 f(1: i32 a = 3, 2: optional string b) throws (1: E e, 2: required F f),\n\
             async void g(); list<string> h() }",
            "Exception E\nException F\n\
             S.f i32 1:i32 a=Int(3), 2:string b, throws 1:optional E e, 2:optional F f,\n\
             S.g oneway void\nS.h list<string>\n",
        ),
        (
            "struct M {} service S {\n\
             M a(1: M m) (streaming.mode = \"bidirectional\")\n\
             M b(1: M m) (streaming.mode = 'client', x = 'y');\n\
             M c(1: M m) (streaming.mode = \"server\"),\n\
             M d(1: M m) (streaming.mode=\"unary\") M e(1: M m) }",
            "Struct M\nS.a M 1:M m, Bidirectional\nS.b M 1:M m, Client\nS.c M 1:M m, Server\n\
             S.d M 1:M m, Unary\nS.e M 1:M m,\n",
        ),
        (
            "service C extends B { void c() } service B extends A { void b() }\n\
             service A { void a() }",
            "C.c void\nC.b void\nC.a void\nB.b void\nB.a void\nA.a void\n",
        ),
        // Headers, annotations everywhere, and what only XML wants to know.
        (
            "\u{feff}namespace go a.b (x = 'y')\r\nnamespace * c\r\nnamespace py.twisted d\r\n\
             cpp_include \"x.h\"\r\n\
             typedef string (a = 'b') T (c = 'd')\r\n\
             enum E { A = 1 (x = 'y'), B (flag) } (e = 'f')\r\n\
             struct A xsd_all { 1: list<i32 (a = 'b')> (c = 'd') a xsd_optional xsd_nillable \
             xsd_attrs { 1: i32 x } (k = 'v'; flag, l = \"w\"), 2: T & b } (s = 't')\r\n\
             service S { void f() (a = 'b') } (c = 'd')\r\n",
            "Struct A 1:list<i32> a, 2:string b,\nenum E A=1 B=2\nS.f void\n",
        ),
        ("", ""),
        ("// nothing\n/* at */ # all", ""),
    ];
    for (text, expected) in table {
        let expected = expected.replace("list<Struct>", "list<A>");
        assert_eq!(outline(&document(text)), expected, "{text}");
    }
}

/// Each default with the value that it amounts to.
#[test]
fn defaults_amount_to_this() {
    let base = "const i32 ONE = 1; const i32 TWO = ONE_MORE const i32 ONE_MORE = 2\n\
                const list<i32> NUMBERS = [ONE, TWO]; enum Color { RED, GREEN = 5 }\n\
                typedef Color Paint; const Color BEST = Color.GREEN\n\
                struct Point { 1: i32 x, 2: list<Point> near, 3: optional Color color }\n\
                const Point ORIGIN = { 'x': 0, \"near\": [{ \"x\": ONE }] }\n";
    let table = [
        ("bool", "true", "Bool(true)"),
        ("bool", "0", "Bool(false)"),
        ("i8", "-128", "Int(-128)"),
        ("i64", "0xffffffff", "Int(4294967295)"),
        ("i64", "-9223372036854775808", "Int(-9223372036854775808)"),
        ("i32", "0o17", "Int(15)"),
        ("i32", "007", "Int(7)"),
        ("i32", "+3", "Int(3)"),
        ("i32", "TWO", "Int(2)"),
        ("i32", "Color.GREEN", "Int(5)"),
        ("i32", "BEST", "Int(5)"),
        ("Color", "Color.RED", "Int(0)"),
        ("Color", "Paint.GREEN", "Int(5)"),
        ("Color", "GREEN", "Int(5)"),
        ("Paint", "BEST", "Int(5)"),
        ("Color", "5", "Int(5)"),
        ("Color", "no.such.GREEN", "Int(5)"),
        ("double", "1", "Double(1.0)"),
        ("double", "-1.5e-3", "Double(-0.0015)"),
        ("double", ".5", "Double(0.5)"),
        ("double", "1E3", "Double(1000.0)"),
        ("double", "ONE", "Double(1.0)"),
        ("string", "\"it's\"", "String(\"it's\")"),
        ("string", r#"'\'\"\n\t\r\\'"#, r#"String("'\"\n\t\r\\")"#),
        ("string", "\"two\nlines\"", "String(\"two\\nlines\")"),
        ("binary", "'é'", "String(\"é\")"),
        (
            "uuid",
            "'01234567-89ab-cdef-0123-456789ABCDEF'",
            "String(\"01234567-89ab-cdef-0123-456789ABCDEF\")",
        ),
        ("list<i32>", "NUMBERS", "List([Int(1), Int(2)])"),
        ("set<i64>", "[ONE; 2 3,]", "List([Int(1), Int(2), Int(3)])"),
        ("set<i64>", "{}", "List([])"),
        ("map<i32, string>", "[]", "Map([])"),
        (
            "map<i32, list<double>>",
            "{1: [1.5], TWO: [ONE]}",
            "Map([(Int(1), List([Double(1.5)])), (Int(2), List([Double(1.0)]))])",
        ),
        (
            "Point",
            "ORIGIN",
            "Map([(String(\"x\"), Int(0)), (String(\"near\"), \
             List([Map([(String(\"x\"), Int(1))])]))])",
        ),
        (
            "Point",
            "{ 'color': Color.GREEN }",
            "Map([(String(\"color\"), Int(5))])",
        ),
    ];
    for (ty, default, expected) in table {
        let text = format!("{base}struct Last {{ 1: {ty} a = {default} }}");
        let document = document(&text);
        let last = document.structs.last().unwrap();
        let found = format!("{:?}", last.fields[0].default.as_ref().unwrap());
        assert_eq!(found, expected, "{ty} {default}");
    }
}

#[test]
fn names_come_from_includes() {
    let main = "include \"base.thrift\"\ninclude 'sub/more.v1.thrift'\n\
                struct A { 1: base.Base base, 255: optional more.v1.Id id = more.v1.FIRST\n\
                2: base.Color c = base.Color.RED, 3: i32 d = base.LIMIT\n\
                4: base.Paint e = base.Paint.RED }\n\
                service S extends base.Common { void s() }";
    let base = "include \"sub/more.v1.thrift\"\nstruct Base { 1: list<Base> more }\n\
                enum Color { NONE, RED } typedef Color Paint\nconst i32 LIMIT = more.v1.FIRST\n\
                service Common { more.v1.Id id() }";
    let more = "include \"../sub/./deep.thrift\"\ntypedef deep.Number Id\nconst Id FIRST = 7";
    let texts = [
        ("main.thrift", main),
        ("base.thrift", base),
        ("sub/more.v1.thrift", more),
        ("sub/../sub/./deep.thrift", "typedef i32 Number"),
    ];
    let document = read_texts(&texts).map_err(|f| shown(&f)).unwrap();
    assert_eq!(
        outline(&document),
        "Struct A 1:Base base, 255:optional i32 id=Int(7), 2:Color c=Int(1), 3:i32 d=Int(7), \
         4:Color e=Int(1),\nStruct Base 1:list<Base> more,\nenum Color NONE=0 RED=1\n\
         S.s void\nS.id i32\nCommon.id i32\n"
    );
    let mains: Vec<bool> = document.structs.iter().map(|s| s.is_main).collect();
    assert_eq!(mains, [true, false]);
    assert!(document.services[0].is_main && !document.services[1].is_main);
    assert_eq!(
        document.services[0].functions[1].place.file,
        "base.thrift".into()
    );
}

#[test]
fn includes_are_looked_up_beside_their_file_then_in_the_folders() {
    let sources: Sources = [
        ("idl/main.thrift", "include 'a.thrift' include 'b.thrift'"),
        ("idl/a.thrift", "struct Beside {}"),
        ("first/a.thrift", "struct Wrong {}"),
        ("second/b.thrift", "include 'c.thrift'"),
        ("second/c.thrift", "struct InFolder {}"),
    ]
    .into_iter()
    .collect();
    let files = [
        PathBuf::from("idl/main.thrift"),
        PathBuf::from("idl/./a.thrift"),
    ];
    let include = [PathBuf::from("first"), PathBuf::from("second")];
    let document = read(&files, &include, &sources).unwrap();
    let names: Vec<_> = document
        .structs
        .iter()
        .map(|s| (&*s.name, s.is_main))
        .collect();
    assert_eq!(names, [("Beside", true), ("InFolder", false)]);
    // What is missing is remembered, for whoever follows the files.
    assert!(sources.seen()[&PathBuf::from("first/b.thrift")].is_err());
}

#[test]
fn comments_belong_to_what_they_stand_by() {
    let document = document(
        "// The license.\n\n/**\n * A struct\n *   of two lines.\n */\nstruct A { // and more\n\
         # Before.\n// Before too.\n1: i32 a, // Behind.\n/* Of b. */ 2: i32 b (x = 'y') /* and */;\
         \n3: i32 c } // not of B\n\n// Apart.\n\n//Of B.\nstruct B {}\n\
         enum E { X = 1, // of x\n Y /* of y */, Z }\n\
         /// Of S.\nservice S {\n  // Of f.\n  void f(1: i32 a /* of a */, 2: i32 b)\n}\n",
    );
    let [a, b] = document.structs.as_slice() else {
        panic!()
    };
    assert_eq!(a.comment, "A struct\n  of two lines.\nand more");
    let comments: Vec<_> = a.fields.iter().map(|f| &*f.comment).collect();
    assert_eq!(
        comments,
        ["Before.\nBefore too.\nBehind.", "Of b.\nand", ""]
    );
    assert_eq!(b.comment, "Apart.\n\nOf B.");
    let comments: Vec<_> = document.enums[0]
        .values
        .iter()
        .map(|v| &*v.comment)
        .collect();
    assert_eq!(comments, ["of x", "of y", ""]);
    let service = &document.services[0];
    assert_eq!(service.comment, "Of S.");
    assert_eq!(service.functions[0].comment, "Of f.");
    assert_eq!(service.functions[0].arguments[0].comment, "of a");
}

#[test]
fn what_stands_beside_is_kept() {
    let document = document(
        "namespace go a.b\nnamespace * c\nstruct A { 1: i32 a (api.query = 'q', flag) } (x = 'y')\n\
         service S { void f() (api.get = \"/\\d\") }",
    );
    let own = |pairs: &[(Arc<str>, Arc<str>)]| {
        let pairs = pairs.iter().map(|(k, v)| format!("{k}={v}"));
        pairs.collect::<Vec<_>>()
    };
    assert_eq!(own(&document.namespaces), ["go=a.b", "*=c"]);
    assert_eq!(own(&document.structs[0].annotations), ["x=y"]);
    assert_eq!(
        own(&document.structs[0].fields[0].annotations),
        ["api.query=q", "flag=1"]
    );
    assert_eq!(
        own(&document.services[0].functions[0].annotations),
        ["api.get=/\\d"]
    );
    assert_eq!(
        document.structs[0].fields[0].place.to_string(),
        "main.thrift:3:19"
    );
}

#[test]
fn fields_without_ids_are_a_warning() {
    let document = document("struct A { i32 e\n i32 b }\nservice S { void f(i32 a) }");
    assert_eq!(
        shown(&document.findings),
        "main.thrift:1:16 the struct `A` has fields without ids: thriftgo counts up from the field \
         before, and so does ripcord; Apache's compiler counts down from -1. Write the ids\n\
         main.thrift:3:24 the function `f` has fields without ids: thriftgo counts up from the \
         field before, and so does ripcord; Apache's compiler counts down from -1. Write the ids\n"
    );
    assert!(
        document
            .findings
            .iter()
            .all(|f| f.severity == Severity::Warning)
    );
}
