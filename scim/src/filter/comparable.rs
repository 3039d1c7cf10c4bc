//! Values as text that is in their order: what a store's search rows hold, and what is sorted by.
//!
//! Of two values of one attribute the texts are equal where the values are, and in byte order where these have an order:
//! so one column of text serves every type. Numbers and moments become hexadecimal digits of one length.

use portcullis_policy::fold;
use serde_json::{Number, Value};

use crate::moment::Moment;
use crate::schema::{Attribute, Type};

use super::Literal;

/// Far below the earliest moment there is, in nanoseconds: what is added to it is never negative.
const BEFORE_ALL: i128 = 1 << 70;

impl Literal {
    /// The value as text that is in the order of its attribute's values; none for null.
    pub fn comparable(&self, attribute: &Attribute) -> Option<String> {
        match self {
            Literal::Text(text) => Some(comparable_text(attribute, text)),
            Literal::Truth(truth) => Some(truth.to_string()),
            Literal::Number(number) => comparable_number(attribute, number),
            Literal::Moment(moment) => Some(comparable_moment(*moment)),
            Literal::Null => None,
        }
    }
}

/// A simple value of a resource in the same form; none where it is not of its attribute's type, and for Binary, which has
/// no order.
pub(crate) fn comparable_value(attribute: &Attribute, value: &Value) -> Option<String> {
    match (attribute.kind, value) {
        (Type::Boolean, Value::Bool(truth)) => Some(truth.to_string()),
        (Type::Integer | Type::Decimal, Value::Number(number)) => comparable_number(attribute, number),
        (Type::DateTime, Value::String(text)) => Moment::parse(text).map(comparable_moment),
        (Type::String | Type::Reference, Value::String(text)) => Some(comparable_text(attribute, text)),
        _ => None,
    }
}

/// Tells whether two texts are the same value of an attribute.
pub(crate) fn same_text(attribute: &Attribute, left: &str, right: &str) -> bool {
    left == right || (!attribute.case_exact && fold::same_key(left) == fold::same_key(right))
}

/// The text as an attribute compares it: folded by `fold::same_key` unless it is caseExact.
pub fn comparable_text(attribute: &Attribute, text: &str) -> String {
    if attribute.case_exact { text.to_owned() } else { fold::same_key(text) }
}

/// 16 digits: of a whole number with its sign turned round; of a double as IEEE 754 orders them (§5.10).
pub(super) fn comparable_number(attribute: &Attribute, number: &Number) -> Option<String> {
    const SIGN: u64 = 1 << 63;
    let ordered = match attribute.kind {
        Type::Integer => number.as_i64()?.cast_unsigned() ^ SIGN,
        _ => {
            let bits = number.as_f64()?.to_bits();
            if bits & SIGN == 0 { bits | SIGN } else { !bits }
        }
    };
    Some(format!("{ordered:016x}"))
}

/// 18 digits: nanoseconds.
fn comparable_moment(moment: Moment) -> String {
    format!("{:018x}", moment.as_nanosecond() + BEFORE_ALL)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::{Schemas, extensions::tests::every_type};

    fn texts_of(attribute: &str, values: impl IntoIterator<Item = Value>) -> Vec<String> {
        let schemas = Schemas::with_extensions(vec![every_type()]);
        let path = schemas.resolve_name(crate::ResourceKind::User, attribute).expect("a name");
        values.into_iter().map(|value| comparable_value(path.leaf(), &value).expect("a value")).collect()
    }

    #[test]
    fn texts_are_in_the_order_of_their_values() {
        let whole = [i64::MIN, -1_000, -999, -1, 0, 1, 9, 10, 999, i64::MAX].map(Value::from);
        let parts = [f64::MIN, -1e9, -1.5, -1e-300, 0.0, 5e-324, 0.1, 2.0, 10.0, f64::MAX].map(Value::from);
        let moments = [
            "-009999-01-02T01:59:59Z",
            "1969-12-31T23:59:59.999Z",
            "1970-01-01T00:00:00Z",
            "2027-01-15T09:00:00+01:00",
            "2027-01-15T08:00:00.000000001Z",
            "9999-12-30T22:00:00.999999999Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59.9999999Z",
            "9999-12-31T23:59:59-05:00",
        ]
        .map(Value::from);
        for texts in [
            texts_of("level", whole),
            texts_of("score", parts),
            texts_of("since", moments),
            texts_of("contractor", [json!(false), json!(true)]),
        ] {
            assert!(texts.is_sorted_by(|left, right| left < right), "{texts:?}");
        }
        let same = ["2027-01-15T09:00:00+01:00", "2027-01-15T08:00:00.000Z"].map(Value::from);
        let same = texts_of("since", same);
        assert_eq!(same[0], same[1], "one moment");
    }
}
