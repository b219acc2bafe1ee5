//! Streams whose caller and callee have different forms of messages: which form each of them has,
//! and the stages that translate.

use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;

use crate::bridge::{Stage, StageError};
use crate::config::{AssumedPayload, PayloadKind};
use crate::stream::{
    End, LocalEndKind, Message, MessageBatch, Payload, RequestHead, ResponseHead, Wire,
};
use crate::telemetry::Series;
use crate::translate::{FaultClass, Form, Schema, Translation, Translator};

/// The form of a backend's messages: what its configuration says, or else what is usual on its
/// wire.
pub(super) const fn form_of(wire: &Wire, takes: PayloadKind, assumed: AssumedPayload) -> Form {
    match (takes, assumed) {
        (PayloadKind::Thrift, _) | (PayloadKind::Any, AssumedPayload::Thrift) => Form::Thrift,
        (PayloadKind::Protobuf, _) => Form::Protobuf,
        (PayloadKind::Any, AssumedPayload::Protobuf) if wire.callees_tell_kinds => Form::Protobuf,
        (PayloadKind::Any, AssumedPayload::Protobuf) => Form::Thrift,
    }
}

/// Turns the head of a stream into that of the other form, and says how its messages are
/// translated. `None`: caller and callee have the same form, and nothing is changed.
///
/// # Errors
/// The schema does not translate this method.
pub(super) fn pair(
    schema: &Schema,
    callee: Form,
    head: &mut RequestHead,
) -> Result<Option<[Translation; 2]>, Box<End>> {
    let caller = match &head.payload {
        Payload::Protobuf => Form::Protobuf,
        Payload::Thrift => Form::Thrift,
        // Refused later ([`check_form`]), so that a backend's own `payload` is named first.
        Payload::Other(_) => return Ok(None),
    };
    if caller == callee {
        return Ok(None);
    }
    let unpaired = |text| Box::new(End::hop(LocalEndKind::UnpairedMethod, text));
    let found = schema.find(caller, &head.service, &head.method);
    let method = found.map_err(unpaired)?;
    let (service, name) = method.names();
    let (service, name) = (service.to_owned(), name.to_owned());
    let translations = schema.translations(&method);
    head.service = service;
    head.method = name;
    head.payload = match callee {
        Form::Protobuf => Payload::Protobuf,
        Form::Thrift => Payload::Thrift,
    };
    Ok(Some(translations))
}

/// Checks that the stream's payload has a form, since its route translates.
///
/// # Errors
/// It is neither protobuf nor thrift. Nobody checked what is in it.
pub(super) fn check_form(schema: &Schema, head: &RequestHead) -> Result<(), End> {
    match &head.payload {
        Payload::Protobuf | Payload::Thrift => Ok(()),
        Payload::Other(kind) => {
            let text = format!(
                "the route translates by schema {}; the request is {kind}: send protobuf or thrift",
                schema.name()
            );
            Err(End::hop(LocalEndKind::PayloadMismatch, text))
        }
    }
}

/// Whose messages a stage translates.
#[derive(Clone, Copy)]
enum Whose {
    Callers,
    Callees,
}

impl Whose {
    const fn name(self) -> &'static str {
        match self {
            Self::Callers => "the caller's",
            Self::Callees => "the callee's",
        }
    }

    const fn kind(self, class: FaultClass) -> LocalEndKind {
        match (self, class) {
            (_, FaultClass::TooLarge) => LocalEndKind::MessageTooLarge,
            (Self::Callers, FaultClass::Malformed) => LocalEndKind::InvalidRequest,
            (Self::Callees, FaultClass::Malformed) => LocalEndKind::InvalidResponse,
            (Self::Callers, FaultClass::Content) => LocalEndKind::UntranslatableRequest,
            (Self::Callees, FaultClass::Content) => LocalEndKind::UntranslatableResponse,
        }
    }
}

/// Translates the messages of one direction.
struct Translate {
    translator: Translator,
    whose: Whose,
    messages: u32,
    /// Where skipped fields are counted, and how many are.
    series: Arc<Series>,
    skipped: u64,
}

/// The stages of both directions. Each translated message has at most `max` bytes.
pub(super) fn stages(
    [request, response]: [Translation; 2],
    max: usize,
    series: &Arc<Series>,
) -> [Box<dyn Stage>; 2] {
    let stage = |translation: Translation, whose| -> Box<dyn Stage> {
        let Translation {
            plan,
            message,
            direction,
        } = translation;
        Box::new(Translate {
            // Kitex' Recv applies no defaults to the message itself.
            translator: Translator::new(plan, message, direction, true, max),
            whose,
            messages: 0,
            series: Arc::clone(series),
            skipped: 0,
        })
    };
    [
        stage(request, Whose::Callers),
        stage(response, Whose::Callees),
    ]
}

thread_local! {
    /// What a message is translated into, and what it is gathered in when it came in pieces. Both
    /// are used again, by all streams of a worker.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Above this capacity a scratch buffer is not kept.
const KEPT: usize = 256 * 1024;

impl Stage for Translate {
    fn head(&mut self, _: &mut ResponseHead) -> Result<(), StageError> {
        Ok(())
    }

    fn apply(
        &mut self,
        message: Message,
        pieces: &mut Vec<Bytes>,
        out: &mut MessageBatch,
    ) -> Result<(), StageError> {
        self.messages = self.messages.saturating_add(1);
        if message.compressed {
            let (whose, number) = (self.whose.name(), self.messages);
            let text =
                format!("{whose} message {number} is compressed, and no encoding was announced");
            return Err(StageError::new(
                self.whose.kind(FaultClass::Malformed),
                text,
            ));
        }
        SCRATCH.with_borrow_mut(|(made, gathered)| {
            made.clear();
            let whole: &[u8] = match pieces.as_slice() {
                [] => &[],
                [one] => one,
                many => {
                    gathered.clear();
                    many.iter()
                        .for_each(|piece| gathered.extend_from_slice(piece));
                    gathered
                }
            };
            let translated = self.translator.translate(whole, made).map_err(|fault| {
                let (whose, number) = (self.whose.name(), self.messages);
                let class = fault.kind.class();
                let kind = self.whose.kind(class);
                // The caller is told which field of its own message it is.
                let named = match self.whose {
                    Whose::Callers => class == FaultClass::Content && !fault.path.is_empty(),
                    Whose::Callees => false,
                };
                StageError {
                    kind,
                    text: format!("{whose} message {number} cannot be translated: {fault}"),
                    field: named.then(|| fault.path.as_str().into()),
                }
            });
            if translated.is_ok() {
                out.push_prefix(false, u32::try_from(made.len()).unwrap_or(u32::MAX));
                out.push_slice(made);
            }
            made.shrink_to(KEPT);
            gathered.shrink_to(KEPT);
            translated
        })?;
        let skipped = self.translator.skipped();
        if skipped > self.skipped {
            self.series.skipped_fields(skipped - self.skipped);
            self.skipped = skipped;
        }
        Ok(())
    }
}
