//! For which fields something is to be done when they are absent.

use super::{Absent, FieldPlan, NO_ONEOF, Shape, Slots};

/// The three sets of a message.
pub(super) fn absent(fields: &[FieldPlan], is_union: bool) -> Absent {
    let set = |wanted: &dyn Fn(&FieldPlan) -> bool| slots(fields, wanted);
    let thrift = |field: &FieldPlan| match field.shape {
        Shape::ThriftOnly => field.must_thrift,
        Shape::Item(_) | Shape::Container(_) if field.implicit => field.zeros,
        Shape::Item(_) | Shape::Container(_) => field.must_thrift || field.must_protobuf,
    };
    // Another member of a oneof may be there.
    let has_default =
        |field: &FieldPlan| !is_union && field.oneof == NO_ONEOF && field.default.is_some();
    Absent {
        thrift: set(&thrift),
        thrift_top: set(&|field| thrift(field) || (has_default(field) && !field.implicit)),
        protobuf: set(&|field| field.must_thrift || field.must_protobuf || has_default(field)),
    }
}

/// The slots of the fields that are wanted.
pub(super) fn slots(fields: &[FieldPlan], wanted: &dyn Fn(&FieldPlan) -> bool) -> Slots {
    let words = fields.chunks(64).map(|chunk| {
        let bits = chunk.iter().enumerate();
        bits.fold(0, |word, (bit, field)| {
            word | u64::from(wanted(field)) << bit
        })
    });
    words.collect()
}
