//! Streams that are translated, against the built ripcord: protobuf callers of thrift callees and
//! the other way round, with the IDL files of `config/idl`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod kit;

mod translate_cases {
    pub(crate) mod again;
    pub(crate) mod bytes;
    pub(crate) mod ends;
    pub(crate) mod reload;
    pub(crate) mod streams;
}
