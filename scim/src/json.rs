//! Reads a body as JSON, bounded before anything looks at it.
//!
//! Refused: more than [`MAX_BODY`] bytes, nesting beyond [`MAX_LEVELS`], a name twice in one object in whatever
//! case (names of attributes are case-insensitive, RFC 7643 §2.1, so which of the two would count?), numbers that
//! no machine number holds, and NUL, which no database column takes.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::ScimError;

/// The largest body, in bytes.
pub const MAX_BODY: usize = 1 << 20;
/// The deepest nesting of objects and lists in a body. SCIM itself needs five.
pub const MAX_LEVELS: usize = 16;

/// Reads a body that is one JSON object.
///
/// # Errors
/// 413 for one that is too large, `invalidSyntax` for one that is malformed.
pub(crate) fn read_object(body: &[u8]) -> Result<Map<String, Value>, ScimError> {
    if body.len() > MAX_BODY {
        return Err(ScimError::TooLarge { what: "a body", limit: "1 MiB".into() });
    }
    read_object_within(body, MAX_LEVELS)
}

/// The same for a body whose size was looked at before, of so many levels.
pub(crate) fn read_object_within(body: &[u8], levels: usize) -> Result<Map<String, Value>, ScimError> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value =
        JsonNode { levels }.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)).map_err(
            |error| ScimError::invalid_syntax(format!("the body is not JSON as it should be: {error}")),
        )?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(ScimError::invalid_syntax("the body must be a JSON object")),
    }
}

/// One value, with the levels it may still go down.
#[derive(Clone, Copy)]
struct JsonNode {
    levels: usize,
}

impl<'de> DeserializeSeed<'de> for JsonNode {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl JsonNode {
    fn below<E: Error>(self) -> Result<JsonNode, E> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(JsonNode { levels }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> Visitor<'de> for JsonNode {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Bool(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        if text.contains('\0') {
            return Err(E::custom("text with a NUL character"));
        }
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut seen = HashSet::new();
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !seen.insert(name.to_ascii_lowercase()) {
                return Err(A::Error::custom("a name stands twice in one object"));
            }
            object.insert(name, entries.next_value_seed(below)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evil_bodies_are_refused() {
        let deep = |n: usize| format!("{{\"a\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        let huge = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_BODY));
        assert!(read_object(deep(MAX_LEVELS - 1).as_bytes()).is_ok());
        assert_eq!(read_object(huge.as_bytes()).map_err(|e| e.status().as_u16()), Err(413));
        for evil in [
            "",
            "null",
            "[]",
            "\"text\"",
            "{",
            "{}{}",
            "{\"a\":1e400}",
            "{\"a\":-1e400}",
            "{\"a\":1,\"a\":2}",
            "{\"userName\":\"a\",\"USERNAME\":\"b\"}",
            "{\"a\":{\"value\":1,\"Value\":2}}",
            "{\"a\":\"\\u0000\"}",
            "{\"a\":\"\\ud800\"}",
            "{a:1}",
            "{\"a\":NaN}",
            &deep(MAX_LEVELS),
            &deep(100_000),
        ] {
            let error = read_object(evil.as_bytes()).expect_err(&evil[..evil.len().min(40)]);
            assert_eq!(error.status().as_u16(), 400);
        }
        assert!(read_object(b"{\"a\":\"\xff\"}").is_err());
        assert!(read_object(b"{\"a\":123456789012345678901234567890}").is_ok());
    }
}
