//! Any bytes are read as a configuration: no panic, and every fault is one line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ripcord::config::{self, Environment};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let environment = Environment::of(&[("A", "1"), ("B", "127.0.0.1:80"), ("C", "")]);
    match config::inspect_in(environment, "f", text) {
        Ok((_, warnings)) => assert!(!warnings.fatal()),
        Err(faults) => {
            assert!(faults.fatal());
            assert_eq!(faults.to_string().lines().count(), faults.len());
        }
    }
});
