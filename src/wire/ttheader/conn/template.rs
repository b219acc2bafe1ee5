//! The beginnings of Data frames. Most streams of a connection have the same method, so the last
//! beginning is used again, with another id.

use std::cell::RefCell;

use bytes::Bytes;

use crate::wire::ttheader::frame::Frame;
use crate::wire::ttheader::header::EncodeError;

/// The last beginning of a connection.
#[derive(Default)]
pub(crate) struct Templates(RefCell<Option<Last>>);

struct Last {
    protocol: u8,
    method: Box<str>,
    template: Box<[u8]>,
}

impl Templates {
    /// The beginning of a stream's Data frames, up to the payload ([`Frame::data_template`]).
    ///
    /// # Errors
    /// The method is too long for the format.
    pub(crate) fn get(
        &self,
        stream_id: i32,
        protocol: u8,
        method: &str,
    ) -> Result<Box<[u8]>, EncodeError> {
        let mut last = self.0.borrow_mut();
        if let Some(last) = &*last
            && last.protocol == protocol
            && *last.method == *method
        {
            return Ok(Frame::with_id(&last.template, stream_id));
        }
        let name = Bytes::copy_from_slice(method.as_bytes());
        let template = Frame::data_template(stream_id, protocol, name)?;
        *last = Some(Last {
            protocol,
            method: method.into(),
            template: template.clone(),
        });
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_is_used_again_is_that_of_its_own_stream() {
        let templates = Templates::default();
        let streams = [
            (1, 0x10, "Echo"),
            (2, 0x10, "Echo"),
            (-3, 0x11, "Echo"),
            (4, 0x11, "Other"),
            (i32::MAX, 0x11, "Other"),
            (6, 0x10, "Echo"),
        ];
        for (id, protocol, method) in streams {
            let fresh = Frame::data_template(id, protocol, method.into()).unwrap();
            assert_eq!(templates.get(id, protocol, method).unwrap(), fresh, "{id}");
        }
    }
}
