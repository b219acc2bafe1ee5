//! Lists with commas, `tracestate` and `baggage`, within their bounds. What is too long loses
//! members (W3C Trace Context 3.3.1.5, W3C Baggage 3.3.2): long ones first where that is the rule,
//! then from the end.

use bytes::Bytes;

/// The bounds of a list.
pub(super) struct Bounds {
    /// The most bytes of the whole.
    size: usize,
    /// The most members.
    members: usize,
    /// Members over this size go first.
    long: usize,
}

/// Those of `tracestate`.
pub(super) const TRACESTATE: Bounds = Bounds {
    size: 512,
    members: 32,
    long: 128,
};

/// Those of `baggage`. No member over 4 KiB is left where there is too little room: it would push
/// out many.
pub(super) const BAGGAGE: Bounds = Bounds {
    size: 8192,
    members: usize::MAX,
    long: 4096,
};

/// One list of the values of several fields; `None` when nothing is left of it.
pub(super) fn joined(values: &[&Bytes], bounds: &Bounds) -> Option<Bytes> {
    let joined = match values {
        [] => return None,
        [one] => Bytes::clone(one),
        many => many
            .iter()
            .map(|v| v.as_ref())
            .collect::<Vec<_>>()
            .join(&b","[..])
            .into(),
    };
    let legal = |b: &u8| matches!(b, b'\t' | 0x20..=0x7e);
    if !joined.iter().all(legal) {
        return None;
    }
    let within = |members: usize, size| size <= bounds.size && members <= bounds.members;
    let count = joined.iter().filter(|b| **b == b',').count() + 1;
    if within(count, joined.len()) {
        return (!joined.is_empty()).then_some(joined);
    }
    let members = joined.split(|b| *b == b',').map(<[u8]>::trim_ascii);
    let mut members: Vec<&[u8]> = members.filter(|member| !member.is_empty()).collect();
    let mut size = members.iter().map(|m| m.len() + 1).sum::<usize>();
    let mut long = members.iter().filter(|m| m.len() > bounds.long).count();
    // The last comma is none.
    while long > 0 && size > bounds.size + 1 {
        let last = members.iter().rposition(|m| m.len() > bounds.long);
        size -= last.map_or(0, |at| members.remove(at).len() + 1);
        long -= 1;
    }
    while !within(members.len(), size.saturating_sub(1)) {
        size -= members.pop()?.len() + 1;
    }
    let kept = members.join(&b","[..]);
    (!kept.is_empty()).then(|| kept.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[String], bounds: &Bounds) -> String {
        let values: Vec<Bytes> = values.iter().map(|v| v.clone().into()).collect();
        let values: Vec<&Bytes> = values.iter().collect();
        let joined = joined(&values, bounds).unwrap_or_default();
        String::from_utf8(joined.to_vec()).unwrap()
    }

    #[test]
    fn what_is_too_long_loses_members_from_the_end() {
        let member = |n: usize| format!("k{n:03}={}", "v".repeat(36));
        let all: Vec<_> = (0..20).map(member).collect();
        // 42 bytes each with its comma.
        assert_eq!(of(&[all.join(",")], &TRACESTATE), all[..12].join(","));
        assert_eq!(of(&all, &TRACESTATE), all[..12].join(","));
        let baggage: Vec<_> = (0..300).map(member).collect();
        assert_eq!(of(&[baggage.join(",")], &BAGGAGE), baggage[..195].join(","));
        let short: Vec<_> = (0..40).map(|n| format!("k{n}=v")).collect();
        assert_eq!(of(&[short.join(", ")], &TRACESTATE), short[..32].join(","));
        assert_eq!(of(&[short.join(", ")], &BAGGAGE), short.join(", "));
        assert_eq!(of(&["k=".to_owned() + &"v".repeat(9000)], &BAGGAGE), "");
        let mut first_too_long = baggage.clone();
        first_too_long.insert(0, "k=".to_owned() + &"v".repeat(9000));
        assert_eq!(of(&first_too_long, &BAGGAGE), baggage[..195].join(","));
    }

    #[test]
    fn long_members_of_a_tracestate_go_first() {
        let (long, longer) = (
            "a=".to_owned() + &"v".repeat(130),
            "b=".to_owned() + &"v".repeat(300),
        );
        let short: Vec<_> = (0..10).map(|n| format!("k{n}=short")).collect();
        let all = [vec![long.clone(), longer], short.clone()].concat();
        assert_eq!(
            of(&[all.join(",")], &TRACESTATE),
            format!("{long},{}", short.join(","))
        );
        let kept = ["x=1".to_owned(), "bad\u{1}=1".to_owned()];
        assert_eq!(of(&kept, &TRACESTATE), "");
    }
}
