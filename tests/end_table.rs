//! The whole mapping of ends, rendered, is `tests/data/end_table.golden`. A change of a rule shows
//! as a readable diff. `RIPCORD_BLESS=1` rewrites the file.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::path::Path;

use ripcord::explain;

const HEAD: &str = "\
# Every native end, what the other side is told, and what it is in between.
#
# Fields, separated by ` | `: the end as it came in (or this hop's own); what a gRPC peer on the
# other side is told; what a TTHeader peer is told; the neutral end. The peer that canceled is
# `peer`, this hop is `hop`; `details` stands for a google.rpc.ErrorInfo. ripcord-* fields are
# written with `carried` on; `-` is nothing at all. `as trailer:` is what `cancel_as: trailer`
# changes.
#
# Made by tests/end_table.rs: RIPCORD_BLESS=1 rewrites it.
";

#[test]
fn the_end_table_is_the_golden_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/end_table.golden");
    let mut table = String::from(HEAD);
    let mut group = String::new();
    for row in explain::rows() {
        let words: Vec<_> = row.from.split(' ').take(2).collect();
        let next = if words[0] == "hop" {
            "hop".to_owned()
        } else {
            words.join(" ")
        };
        if next != group {
            table.push('\n');
            group = next;
        }
        table.push_str(&row.to_string());
        table.push('\n');
    }
    if std::env::var_os("RIPCORD_BLESS").is_some_and(|bless| bless == "1") {
        std::fs::write(&path, &table).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    for (n, (is, was)) in table.lines().zip(golden.lines()).enumerate() {
        assert_eq!(is, was, "line {} of {}", n + 1, path.display());
    }
    assert_eq!(table.lines().count(), golden.lines().count());
}

#[test]
fn rows_are_unique_and_have_four_fields() {
    let mut seen = HashSet::new();
    for row in explain::rows() {
        assert_eq!(row.to_string().split(" | ").count(), 4, "{row}");
        assert!(seen.insert(row.from.clone()), "{} twice", row.from);
    }
}
