//! The closed sets of names for ends in labels, logs and `error.type`.
//!
//! A peer can send any number. A number that is in no table here is called `other`, so that no peer
//! can make a new time series. Names of statuses are those of grpc `doc/statuscodes.md`; names of
//! exceptions are those of thrift and Kitex (`stream/codes.rs`).

use crate::stream::{Class, End, Failure, Initiator, LocalEndKind, Processed, Reason};

/// Names of the gRPC statuses 1 to 16, in order.
const STATUS: [&str; 16] = [
    "status_cancelled",
    "status_unknown",
    "status_invalid_argument",
    "status_deadline_exceeded",
    "status_not_found",
    "status_already_exists",
    "status_permission_denied",
    "status_resource_exhausted",
    "status_failed_precondition",
    "status_aborted",
    "status_out_of_range",
    "status_unimplemented",
    "status_internal",
    "status_unavailable",
    "status_data_loss",
    "status_unauthenticated",
];

/// The exception types that have a name of their own.
const EXCEPTION: [(i32, &str); 28] = [
    (0, "exception_0"),
    (1, "exception_1"),
    (2, "exception_2"),
    (3, "exception_3"),
    (4, "exception_4"),
    (5, "exception_5"),
    (6, "exception_6"),
    (7, "exception_7"),
    (8, "exception_8"),
    (9, "exception_9"),
    (10, "exception_10"),
    (20, "exception_20"),
    (21, "exception_21"),
    (12001, "exception_12001"),
    (12002, "exception_12002"),
    (12003, "exception_12003"),
    (12004, "exception_12004"),
    (12005, "exception_12005"),
    (12006, "exception_12006"),
    (12007, "exception_12007"),
    (12008, "exception_12008"),
    (12009, "exception_12009"),
    (12010, "exception_12010"),
    (12011, "exception_12011"),
    (12012, "exception_12012"),
    (12013, "exception_12013"),
    (12014, "exception_12014"),
    (12015, "exception_12015"),
];

/// How many values [`error_index`] has.
pub(crate) const ERRORS: usize =
    STATUS.len() + 1 + EXCEPTION.len() + 1 + 1 + LocalEndKind::ALL.len();

/// The causes with a label of their own. The last one stands for all others.
pub(crate) const CAUSES: [&str; 16] = [
    "12001", "12002", "12003", "12004", "12005", "12006", "12007", "12008", "12009", "12010",
    "12011", "12012", "12013", "12014", "12015", "other",
];

/// The classes of a cancel, in the order of [`class_index`].
pub(crate) const CLASSES: [Class; 3] = [Class::ByCallee, Class::ByCaller, Class::Foreign];

/// The position of a cancel's cause in [`CAUSES`].
pub(crate) fn cause_index(code: i32) -> usize {
    let other = CAUSES.len() - 1;
    match usize::try_from(code.wrapping_sub(12001)) {
        Ok(at) if at < other => at,
        Ok(_) | Err(_) => other,
    }
}

/// The position of a class in [`CLASSES`].
pub(crate) const fn class_index(class: Class) -> usize {
    match class {
        Class::ByCallee => 0,
        Class::ByCaller => 1,
        Class::Foreign => 2,
    }
}

/// The label of a class.
pub(crate) const fn class_name(class: Class) -> &'static str {
    match class {
        Class::ByCallee => "by_callee",
        Class::ByCaller => "by_caller",
        Class::Foreign => "foreign",
    }
}

/// The name of who ended a stream.
pub(crate) const fn party_name(party: Initiator) -> &'static str {
    match party {
        Initiator::Caller => "caller",
        Initiator::Callee => "callee",
        Initiator::Hop => "hop",
    }
}

/// The name of whether the callee may have processed the call.
pub(crate) const fn processed_name(processed: Processed) -> &'static str {
    match processed {
        Processed::No => "no",
        Processed::Maybe => "maybe",
        Processed::Yes => "yes",
    }
}

/// The kinds of ends, in the order of [`end_index`].
pub(crate) const ENDS: [&str; 4] = ["complete", "failed", "canceled", "hop"];

/// The position of an end's kind in [`ENDS`].
pub(crate) const fn end_index(end: &End) -> usize {
    match end.reason {
        Reason::Complete => 0,
        Reason::Failed(_) => 1,
        Reason::Canceled(_) => 2,
        Reason::Hop(_) => 3,
    }
}

/// The name of an end's kind.
pub(crate) const fn end_name(end: &End) -> &'static str {
    match end.reason {
        Reason::Complete => "complete",
        Reason::Failed(_) => "failed",
        Reason::Canceled(_) => "canceled",
        Reason::Hop(_) => "hop",
    }
}

/// The position of a failed end, or of a local end, among the `error_type` values. `None` for
/// success and for a cancel, which are no errors.
pub(crate) fn error_index(end: &End) -> Option<usize> {
    const EXCEPTIONS: usize = STATUS.len() + 1;
    const BUSINESS: usize = EXCEPTIONS + EXCEPTION.len() + 1;
    match &end.reason {
        Reason::Complete | Reason::Canceled(_) => None,
        Reason::Failed(Failure::Status(status)) => Some(
            usize::try_from(status.code)
                .ok()
                .and_then(|code| code.checked_sub(1))
                .map_or(STATUS.len(), |at| at.min(STATUS.len())),
        ),
        Reason::Failed(Failure::Exception(exception)) => Some(
            EXCEPTIONS
                + EXCEPTION
                    .iter()
                    .position(|(id, _)| *id == exception.type_id)
                    .unwrap_or(EXCEPTION.len()),
        ),
        Reason::Failed(Failure::Business(_)) => Some(BUSINESS),
        Reason::Hop(hop) => LocalEndKind::ALL
            .iter()
            .position(|kind| *kind == hop.kind)
            .map(|at| BUSINESS + 1 + at),
    }
}

/// The `error_type` at a position.
pub(crate) fn error_name(mut at: usize) -> &'static str {
    if let Some(name) = STATUS.get(at) {
        return name;
    }
    at -= STATUS.len();
    if at == 0 {
        return "status_other";
    }
    at -= 1;
    if let Some((_, name)) = EXCEPTION.get(at) {
        return name;
    }
    at -= EXCEPTION.len();
    if at == 0 {
        return "exception_other";
    }
    at -= 1;
    if at == 0 {
        return "business";
    }
    LocalEndKind::ALL
        .get(at - 1)
        .map_or("other", |kind| kind.name())
}

/// The longest prefix of `text` of at most `max` bytes.
pub(crate) fn bounded(text: &str, max: usize) -> &str {
    let mut end = max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::{Exception, Metadata, Status};

    fn status(code: u32) -> End {
        let status = Status {
            code,
            message: String::new(),
            details: None,
        };
        End::failed(Failure::Status(status), Metadata::new())
    }

    fn exception(type_id: i32) -> End {
        let exception = Exception {
            type_id,
            text: String::new(),
        };
        End::failed(Failure::Exception(exception), Metadata::new())
    }

    fn name(end: &End) -> &'static str {
        error_name(error_index(end).unwrap())
    }

    #[test]
    fn every_number_has_a_bounded_name() {
        assert_eq!(name(&status(1)), "status_cancelled");
        assert_eq!(name(&status(14)), "status_unavailable");
        for code in [0, 17, 1000, u32::MAX] {
            assert_eq!(name(&status(code)), "status_other");
        }
        assert_eq!(name(&exception(20)), "exception_20");
        assert_eq!(name(&exception(12015)), "exception_12015");
        for id in [11, 22, -1, 12000, 12016, i32::MIN, i32::MAX] {
            assert_eq!(name(&exception(id)), "exception_other");
        }
        for kind in LocalEndKind::ALL {
            assert_eq!(name(&End::hop(kind, "")), kind.name());
        }
        assert_eq!(error_name(ERRORS - 1), "panic");
        assert_eq!(error_name(ERRORS), "other");
    }

    #[test]
    fn causes_are_bounded() {
        assert_eq!(CAUSES[cause_index(12001)], "12001");
        assert_eq!(CAUSES[cause_index(12015)], "12015");
        for code in [0, -1, 12000, 12016, i32::MIN, i32::MAX] {
            assert_eq!(CAUSES[cause_index(code)], "other");
        }
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(bounded("aé", 2), "a");
        assert_eq!(bounded("aé", 3), "aé");
        assert_eq!(bounded("", 3), "");
    }
}
