//! What each gRPC library shows its application for each end: the golden table
//! `tests/data/libraries.golden`. Scripted callees and the limits of a hop make the ends. Each
//! library's client, in its own language, prints what it was given.
//!
//! By default a library is compared on one row of each kind; `RIPCORD_LIBRARIES=full` takes all rows.
//! `RIPCORD_BLESS=1` takes all, too, and writes what the libraries show into the file.

mod rig;
mod rows;
mod table;

use crate::kit::libraries::Library;
use crate::kit::trial::cases;

use rig::Rig;
use rows::{Row, rows};
use table::Table;

cases! {
    [Java] { the_table_holds::grpc_java = || the_table_holds(Library::Java) }
    [Node] { the_table_holds::grpc_js = || the_table_holds(Library::Js) }
    [Tonic] { the_table_holds::tonic = || the_table_holds(Library::Tonic) }
    [Go] {
        the_table_holds::connect_go = || the_table_holds(Library::ConnectGo),
        the_table_holds::grpc_go = || the_table_holds(Library::GrpcGo),
    }
    [Grpcio] { the_table_holds::grpcio = || the_table_holds(Library::Grpcio) }
    [] { the_table_has_every_row }
}

fn is_set(name: &str, value: &str) -> bool {
    std::env::var(name).is_ok_and(|set| set == value)
}

fn the_table_holds(library: Library) {
    let bless = is_set("RIPCORD_BLESS", "1");
    let full = bless || is_set("RIPCORD_LIBRARIES", "full");
    let wanted = |row: &Row| full || row.is_sample;
    let rows: Vec<_> = rows().into_iter().filter(wanted).collect();
    let seen = Rig::start(library).play_all(&rows);
    if bless {
        return table::write(library, &rows, &seen);
    }
    let table = Table::read();
    let differs = rows.iter().zip(&seen).filter_map(|(row, is)| {
        let was = table.shown(&row.name, library);
        let name = library.name();
        let what = || {
            format!(
                "{}\n    {name} shows {is}\n    the table has {was}",
                row.name
            )
        };
        (is != was).then(what)
    });
    let differs: Vec<_> = differs.collect();
    assert!(differs.is_empty(), "{}", differs.join("\n"));
    println!("{}: {} ends as in the table", library.name(), rows.len());
}

/// A row that the code has and the file has not was never blessed, and the reverse is a row that
/// nobody plays any more.
fn the_table_has_every_row() {
    let table = Table::read();
    let names: Vec<_> = rows().into_iter().map(|row| row.name).collect();
    assert_eq!(table.names(), names);
    for library in Library::ALL {
        for name in &names {
            assert_ne!(table.shown(name, library), "", "{}: {name}", library.name());
        }
    }
}
