//! Attributes: what a directory or a verified login states of a person beside what decides who it is.
//!
//! Nothing here admits anybody or tells people apart; that is done by the named fields of [`Facts`](crate::Facts). One
//! more attribute for the application needs a reader at its source, and a row where it is shown.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Attributes of one person, in the order in which they were stated: a name, and one or many texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attributes(Vec<(Arc<str>, Vec<Arc<str>>)>);

impl Attributes {
    /// A name for people, never for decisions.
    pub const NAME: &str = "name";
    /// `preferred_username` of a login, but for an address that the login itself leaves unverified; `userName` of the
    /// directory. People may have chosen it themselves.
    pub const PREFERRED_USERNAME: &str = "preferred_username";

    /// Adds the texts of an attribute, behind those it has; empty ones count as not stated.
    pub fn add_texts<T: AsRef<str>>(&mut self, name: &str, texts: impl IntoIterator<Item = T>) {
        for text in texts {
            let text = text.as_ref();
            if text.is_empty() {
                continue;
            }
            match self.0.iter_mut().find(|(stated, _)| **stated == *name) {
                Some((_, stated)) => stated.push(text.into()),
                None => self.0.push((name.into(), vec![text.into()])),
            }
        }
    }

    /// The same with the texts of one more attribute.
    #[must_use]
    pub fn with_texts<T: AsRef<str>>(mut self, name: &str, texts: impl IntoIterator<Item = T>) -> Self {
        self.add_texts(name, texts);
        self
    }

    /// All texts of an attribute; none where it is not stated.
    pub fn all_texts(&self, name: &str) -> &[Arc<str>] {
        self.0.iter().find(|(stated, _)| **stated == *name).map_or(&[], |(_, texts)| texts)
    }

    /// The first text of an attribute.
    pub fn first_text(&self, name: &str) -> Option<&str> {
        self.all_texts(name).first().map(|text| &**text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stated_is_kept_in_its_order_and_empty_texts_are_not() {
        let mut stated = Attributes::default().with_texts("b", ["2", ""]).with_texts("a", ["1"]);
        stated.add_texts("b", ["3"]);
        stated.add_texts("c", [""]);
        assert_eq!(
            (stated.first_text("b"), stated.first_text("a"), stated.first_text("c")),
            (Some("2"), Some("1"), None)
        );
        assert_eq!(stated.all_texts("b"), ["2".into(), "3".into()]);
        let text = serde_json::to_string(&stated).unwrap();
        assert_eq!(text, r#"[["b",["2","3"]],["a",["1"]]]"#);
        assert_eq!(serde_json::from_str::<Attributes>(&text).unwrap(), stated);
    }
}
