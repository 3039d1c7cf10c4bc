//! Hop: the fields that concern one connection alone, and are never passed on (RFC 9110 §7.6.1).

use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName};

use crate::field_set::{FieldKind, FieldSet, is_of_a_hop};

/// Takes out what `Connection` names and what concerns one hop alone. `has`: the fields there are.
pub(crate) fn of_this_hop(headers: &mut HeaderMap, has: FieldSet) {
    if !has.has(FieldKind::Hop) {
        return;
    }
    let mut doomed: Vec<HeaderName> = headers.keys().filter(|name| is_of_a_hop(name)).cloned().collect();
    if has.has(FieldKind::Connection) {
        let named = connection_options(headers).filter_map(|option| HeaderName::from_bytes(option).ok());
        doomed.extend(named.filter(|name| name != CONTENT_LENGTH));
    }
    for name in doomed {
        headers.remove(name);
    }
}

/// Lists the names in the `Connection` fields.
pub(crate) fn connection_options(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(CONNECTION).into_iter();
    fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|option| !option.is_empty())
}
