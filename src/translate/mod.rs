//! Translation of messages between protobuf and thrift, by their IDL.
//!
//! What happens when a configuration is loaded:
//!
//! 1. [`protobuf`] and [`thrift`] read the IDL files of a schema, each with its includes.
//! 2. [`pair`] finds which service, method, message, field and enum value belongs to which. It
//!    reports everything that cannot be paired, or pairs with loss, with its place in both files.
//!    Its result is a [`Pairing`].
//! 3. [`plan`] lowers a pairing to tables.
//!
//! What happens for each message: [`pass`] reads the bytes once by these tables, and writes the
//! bytes of the other form. It builds no message in memory.

pub mod pair;
pub mod pairing;
pub mod pass;
pub mod place;
pub mod plan;
pub mod protobuf;
pub mod schema;
pub mod sources;
pub mod thrift;
pub mod to_proto;
pub mod to_thrift;

pub use pairing::Pairing;
pub use pass::{Direction, Fault, FaultClass, FaultKind, Translator};
pub use place::{Finding, Place, Severity};
pub use plan::Plan;
pub use schema::{Form, Method, Schema, Translation};
pub use sources::Sources;
