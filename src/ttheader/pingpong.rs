//! STUB
use bytes::BytesMut;
use crate::stream::RequestHead;
pub struct Request { pub head: RequestHead }
pub fn parse(_: &BytesMut) -> Result<Option<Request>, std::io::Error> { Ok(None) }
impl Request { pub fn refusal(&self, _: &str) -> Vec<u8> { vec![] } }
