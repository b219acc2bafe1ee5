//! A tonic client and a tonic server for ripcord's interop tests. `../README.md` has the language;
//! the top of `client.rs` says which part of it is known here.
//!
//!     tonic-peer client --addr 127.0.0.1:PORT
//!     tonic-peer server [--hold]

mod client;
mod codec;
mod lines;
mod server;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments.first().map(String::as_str) {
        Some("client") => runtime.block_on(client::run(value("--addr").expect("--addr"))),
        Some("server") => {
            let hold = arguments.iter().any(|argument| argument == "--hold");
            runtime.block_on(server::run(hold));
        }
        Some(_) | None => {
            eprintln!("tonic-peer client --addr A | tonic-peer server [--hold]");
            std::process::exit(2);
        }
    }
}
