//! Reading protobuf IDL from texts in memory: imports, places, bounds, faults. It pairs nothing.

use std::path::PathBuf;

use super::*;

fn read_texts(
    files: &[&str],
    include: &[&str],
    texts: &[(&str, &str)],
) -> Result<Protobuf, Vec<Finding>> {
    let input = Input::Files {
        files: files.iter().map(PathBuf::from).collect(),
        include: include.iter().map(PathBuf::from).collect(),
    };
    read(&input, &texts.iter().copied().collect())
}

fn faults(files: &[&str], include: &[&str], texts: &[(&str, &str)]) -> Vec<String> {
    let findings = read_texts(files, include, texts).unwrap_err();
    let line = |f: &Finding| format!("{}: {}", f.places[0], f.text);
    findings.iter().map(line).collect()
}

#[test]
fn names_are_found_in_folders_and_places_are_known() {
    let a = "syntax = \"proto3\";\npackage a;\nimport \"common/b.proto\";\n\
             import \"google/protobuf/timestamp.proto\";\n\
             // Says hello.\nmessage M {\n  b.B b = 1;\n  google.protobuf.Timestamp t = 2;\n}\n\
             service S { rpc Get(M) returns (M); }\n";
    let b = "syntax = \"proto3\";\npackage b;\nmessage B { enum E { ZERO = 0; } }\n";
    let texts = [("./idl/a.proto", a), ("idl/common/b.proto", b)];
    let texts = texts.map(|(p, t)| (p.trim_start_matches("./"), t));
    for include in [&["idl"][..], &["./idl"], &[]] {
        let read = read_texts(&["./idl/a.proto"], include, &texts).unwrap();
        let pool = read.pool();
        let m = pool.get_message_by_name("a.M").unwrap();
        assert_eq!(read.place(&m).to_string(), "idl/a.proto:6:9");
        assert_eq!(read.comment(&m), "Says hello.");
        let field = m.get_field_by_name("t").unwrap();
        assert_eq!(read.place(&field).to_string(), "idl/a.proto:8:29");
        let service = pool.get_service_by_name("a.S").unwrap();
        assert_eq!(read.place(&service).to_string(), "idl/a.proto:10:9");
        let method = service.methods().next().unwrap();
        assert_eq!(read.place(&method).to_string(), "idl/a.proto:10:17");
        let e = pool.get_enum_by_name("b.B.E").unwrap();
        assert_eq!(read.place(&e).to_string(), "idl/common/b.proto:3:18");
        let zero = e.values().next().unwrap();
        assert_eq!(read.place(&zero).to_string(), "idl/common/b.proto:3:22");
        assert!(read.is_main(&m.parent_file()));
        assert!(!read.is_main(&e.parent_file()));
    }
}

#[test]
fn faults_have_their_places() {
    let one = |text| faults(&["a.proto"], &[], &[("a.proto", text)]);
    assert_eq!(
        one("syntax = \"proto3\";\nmessage M {\n  strin a = 1;\n}\n"),
        ["a.proto:3:3: name 'strin' is not defined"]
    );
    assert_eq!(
        one("syntax = \"proto3\";\nmessage M {\n  string a 1;\n}\n"),
        ["a.proto:3:12: expected '=', but found '1'"]
    );
    assert_eq!(
        one("edition = \"2023\";\nmessage M {}\n"),
        ["a.proto:1:1: editions are not read: write the file in `syntax = \"proto3\"`"]
    );
    assert_eq!(
        one("syntax = \"proto3\";\nimport \"b.proto\";\n"),
        [
            "a.proto:2:1: `b.proto` is in none of the folders `.`; add the one where it is \
             to `include`"
        ]
    );
    assert_eq!(
        one("syntax = \"proto3\";\nimport \"../b.proto\";\n"),
        ["a.proto:2:8: invalid group name"]
    );
}

#[test]
fn a_circle_of_imports_is_told_and_a_long_chain_is_fine() {
    let a = "syntax = \"proto3\";\nimport \"b.proto\";\n";
    let b = "syntax = \"proto3\";\nimport \"a.proto\";\n";
    let found = faults(&["a.proto"], &[], &[("a.proto", a), ("b.proto", b)]);
    assert_eq!(
        found,
        ["b.proto:2:1: `a.proto` imports this file: that is a circle"]
    );
    let texts: Vec<_> = (0..1500)
        .map(|n| {
            let import = format!("import \"f{}.proto\";", n + 1);
            let import = if n < 1499 { &*import } else { "" };
            let text = format!("syntax = \"proto3\"; {import} message M{n} {{}}");
            (format!("f{n}.proto"), text)
        })
        .collect();
    let texts: Vec<_> = texts.iter().map(|(p, t)| (&**p, &**t)).collect();
    let read = read_texts(&["f0.proto"], &[], &texts).unwrap();
    assert!(read.pool().get_message_by_name("M1499").is_some());
}

#[test]
fn a_descriptor_set_is_read() {
    let text = "syntax = \"proto3\";\npackage a;\nmessage M {}\n";
    let read_text = read_texts(&["a.proto"], &[], &[("a.proto", text)]).unwrap();
    let bytes = read_text.pool().encode_to_vec();
    let input = Input::DescriptorSet("a.binpb".into());
    let sources = [("a.binpb", &bytes[..])].into_iter().collect();
    let again = read(&input, &sources).unwrap();
    let m = again.pool().get_message_by_name("a.M").unwrap();
    assert_eq!(again.place(&m).to_string(), "a.proto:3:9");
    let sources = [("a.binpb", &b"nothing"[..])].into_iter().collect();
    assert!(read(&input, &sources).is_err());
}
