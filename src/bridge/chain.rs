//! Two stages, one behind the other.

use bytes::Bytes;

use crate::bridge::{Stage, StageError};
use crate::stream::{Message, MessageBatch, ResponseHead};

/// Gives each message to the first stage, and what comes out to the second.
pub struct Chain {
    first: Box<dyn Stage>,
    second: Box<dyn Stage>,
    /// What lies between them while one message passes. It is empty otherwise.
    between: MessageBatch,
}

impl Chain {
    /// The one stage that is there, or both in their order.
    #[must_use]
    pub fn of(
        first: Option<Box<dyn Stage>>,
        second: Option<Box<dyn Stage>>,
    ) -> Option<Box<dyn Stage>> {
        match (first, second) {
            (Some(first), Some(second)) => Some(Box::new(Self {
                first,
                second,
                between: MessageBatch::new(),
            })),
            (one, other) => one.or(other),
        }
    }
}

impl Stage for Chain {
    fn head(&mut self, head: &mut ResponseHead) -> Result<(), StageError> {
        self.first.head(head)?;
        self.second.head(head)
    }

    fn apply(
        &mut self,
        message: Message,
        pieces: &mut Vec<Bytes>,
        out: &mut MessageBatch,
    ) -> Result<(), StageError> {
        self.first.apply(message, pieces, &mut self.between)?;
        pieces.clear();
        while let Some(message) = self.between.pop_message(|piece| pieces.push(piece)) {
            self.second.apply(message, pieces, out)?;
            pieces.clear();
        }
        self.between.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes its letter behind each message.
    struct Letter(&'static [u8]);

    impl Stage for Letter {
        fn head(&mut self, head: &mut ResponseHead) -> Result<(), StageError> {
            head.encoding = None;
            Ok(())
        }

        fn apply(
            &mut self,
            _: Message,
            pieces: &mut Vec<Bytes>,
            out: &mut MessageBatch,
        ) -> Result<(), StageError> {
            let whole = [&pieces.concat(), self.0].concat();
            out.push_message(false, whole.into());
            Ok(())
        }
    }

    #[test]
    fn messages_pass_the_stages_in_order() {
        let letter = |letter| Some(Box::new(Letter(letter)) as Box<dyn Stage>);
        assert!(Chain::of(None, None).is_none());
        for (first, second, expected) in [
            (letter(b"a"), None, "m|a"),
            (None, letter(b"b"), "m|b"),
            (letter(b"a"), letter(b"b"), "m|ab"),
        ] {
            let mut chain = Chain::of(first, second).unwrap();
            for _ in 0..2 {
                let (mut out, mut got) = (MessageBatch::new(), Vec::new());
                let message = Message {
                    compressed: false,
                    len: 2,
                };
                let mut pieces = vec![Bytes::from("m"), Bytes::from("|")];
                chain.apply(message, &mut pieces, &mut out).unwrap();
                out.pop_message(|piece| got.extend_from_slice(&piece))
                    .unwrap();
                assert_eq!(got, expected.as_bytes());
                assert!(out.is_empty());
            }
        }
    }
}
