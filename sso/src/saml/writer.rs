//! The writer of our own XML: every value escaped, every element closed.

use chrono::{DateTime, SecondsFormat};
use portcullis_policy::Timestamp;

use super::tag::is_xml_char;

/// A document while it is written.
#[derive(Default)]
pub(crate) struct XmlWriter {
    text: String,
    open: Vec<&'static str>,
}

impl XmlWriter {
    /// Opens an element; its name and those of its attributes are ours.
    pub(crate) fn open(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.write_tag(name, attributes);
        self.text.push('>');
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub(crate) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.text.push_str("</");
            self.text.push_str(name);
            self.text.push('>');
        }
    }

    /// Writes an element with nothing in it.
    pub(crate) fn write_empty(&mut self, name: &'static str, attributes: &[(&str, &str)]) {
        self.write_tag(name, attributes);
        self.text.push_str("/>");
    }

    /// Writes an element with a text in it.
    pub(crate) fn write_text(&mut self, name: &'static str, attributes: &[(&str, &str)], text: &str) {
        self.open(name, attributes);
        push_escaped(&mut self.text, text);
        self.close();
    }

    /// The bytes that are written so far.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Closes what is open and gives the text.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        self.text
    }

    fn write_tag(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.text.push('<');
        self.text.push_str(name);
        for (attribute, value) in attributes {
            self.text.push(' ');
            self.text.push_str(attribute);
            self.text.push_str("=\"");
            push_escaped(&mut self.text, value);
            self.text.push('"');
        }
    }
}

/// Writes a moment to the second (SAML Core §1.3.3).
pub(crate) fn write_instant(moment: Timestamp) -> String {
    let moment = DateTime::from_timestamp_millis(moment.0).unwrap_or_default();
    moment.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Adds a text so that it is read back as it is, in a text and in an attribute's value. What XML has no character for
/// becomes U+FFFD.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' => out.push_str("&#x9;"),
            '\n' => out.push_str("&#xA;"),
            '\r' => out.push_str("&#xD;"),
            c if is_xml_char(c) => out.push(c),
            _ => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml::{XmlBounds, XmlElement};
    use super::*;

    #[test]
    fn moments_are_of_utc() {
        assert_eq!(write_instant(Timestamp(1_769_860_800_999)), "2026-01-31T12:00:00Z");
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(value in "[\\PC\\n\\r\\t\"'<>&;]{0,40}", text in "[\\PC\\n\\r\\t\"'<>&;]{1,40}") {
            let mut writer = XmlWriter::default();
            writer.open("a", &[("xmlns", "urn:1"), ("b", &value)]);
            writer.write_empty("c", &[]);
            writer.write_text("d", &[], &text);
            let root = XmlElement::read_document(&writer.finish(), &XmlBounds::MESSAGE).unwrap();
            let readable = |text: &str| text.replace(|c| !is_xml_char(c), "\u{fffd}");
            proptest::prop_assert_eq!(root.attribute("b"), Some(&*readable(&value)));
            let inner = root.first_named("urn:1", "d").and_then(|d| d.text().map(str::to_owned));
            proptest::prop_assert_eq!(inner, Some(readable(&text)));
        }
    }
}
