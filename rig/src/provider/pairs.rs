//! Parameters of a query or a form.

use url::Url;

/// Name and value pairs, decoded, in the order they came.
pub type Pairs = [(String, String)];

/// A parameter that stands there more than once.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated;

/// The one value of a parameter; an empty one counts as left out (RFC 6749 §3.1).
pub(super) fn single_value<'a>(pairs: &'a Pairs, name: &str) -> Result<Option<&'a str>, Repeated> {
    let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(Repeated),
        (value, None) => Ok(value.filter(|value| !value.is_empty())),
    }
}

/// An address with these parameters behind its own.
pub(super) fn with_query<'a>(address: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    match Url::parse(address) {
        Ok(mut url) => {
            url.query_pairs_mut().extend_pairs(pairs);
            // `extend_pairs` with nothing leaves a bare question mark.
            if url.query() == Some("") {
                url.set_query(None);
            }
            url.into()
        }
        // Both addresses are the registered ones.
        Err(_) => address.to_owned(),
    }
}
