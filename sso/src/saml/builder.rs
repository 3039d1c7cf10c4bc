//! The builder of our own XML: the same tree that is read, written out as canonical text.
//!
//! What is sent is thus byte for byte what is signed, and every value is escaped by the one function that does it.

use std::sync::{Arc, LazyLock};

use super::canonical::canonicalize_element;
use super::tag::is_xml_char;
use super::xml::{XmlAttribute, XmlDeclaration, XmlElement, XmlNode, find_namespace, namespace};

/// The prefixes of every document of ours. Canonicalization writes those that are used.
static DECLARATIONS: LazyLock<Arc<XmlDeclaration>> = LazyLock::new(|| {
    let declare = |prefix: &str, namespace: &str, outer| {
        Arc::new(XmlDeclaration { prefix: prefix.to_owned(), namespace: namespace.into(), outer })
    };
    let outer = declare("saml", namespace::ASSERTION, None);
    let outer = declare("samlp", namespace::PROTOCOL, Some(outer));
    let outer = declare("md", namespace::METADATA, Some(outer));
    declare("ds", namespace::SIGNATURE, Some(outer))
});

/// Builds an element. Its name is `prefix:local`; its attributes have no namespace, and those without a value are left
/// out.
pub(crate) fn build_element(
    name: &str,
    attributes: &[(&str, Option<&str>)],
    children: Vec<XmlElement>,
) -> XmlElement {
    let declarations = Some(Arc::clone(&DECLARATIONS));
    let (prefix, local) = name.split_once(':').unwrap_or(("", name));
    let namespace = find_namespace(declarations.as_ref(), prefix).cloned().unwrap_or_default();
    let attributes = attributes.iter().filter_map(|(local, value)| {
        let (prefix, local) = (String::new(), (*local).to_owned());
        Some(XmlAttribute { prefix, local, namespace: Arc::default(), value: keep_xml_chars((*value)?) })
    });
    XmlElement {
        prefix: prefix.to_owned(),
        local: local.to_owned(),
        namespace,
        declarations,
        attributes: attributes.collect(),
        children: children.into_iter().map(XmlNode::Element).collect(),
    }
}

/// Builds an element that holds a text.
pub(crate) fn build_text(name: &str, attributes: &[(&str, Option<&str>)], text: &str) -> XmlElement {
    let mut element = build_element(name, attributes, Vec::new());
    element.children.push(XmlNode::Text(keep_xml_chars(text)));
    element
}

/// Writes an element of ours.
pub(crate) fn write_element(element: &XmlElement) -> String {
    canonicalize_element(element, &[], None)
}

/// The text with U+FFFD for what XML has no character for.
fn keep_xml_chars(text: &str) -> String {
    text.replace(|c| !is_xml_char(c), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::super::xml::XmlBounds;
    use super::*;

    #[test]
    fn prefixes_are_declared_where_they_are_first_used() {
        let inner = build_text("saml:Issuer", &[("Format", None), ("A", Some("\"<\u{0}"))], "<&>\u{1b}");
        assert_eq!(
            write_element(&build_element("samlp:X", &[], vec![inner])),
            "<samlp:X xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\"><saml:Issuer \
             xmlns:saml=\"urn:oasis:names:tc:SAML:2.0:assertion\" A=\"&quot;&lt;\u{fffd}\">&lt;&amp;&gt;\u{fffd}\
             </saml:Issuer></samlp:X>"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_back(value in "[\\PC\\n\\r\\t\"'<>&;]{0,40}", text in "[\\PC\\n\\r\\t\"'<>&;]{1,40}") {
            let inner = build_text("saml:b", &[("c", Some(&value))], &text);
            let written = write_element(&build_element("samlp:a", &[], vec![inner]));
            let root = XmlElement::read_document(&written, &XmlBounds::MESSAGE).unwrap();
            let inner = root.first_named(namespace::ASSERTION, "b").unwrap();
            proptest::prop_assert_eq!(inner.attribute("c"), Some(&*keep_xml_chars(&value)));
            proptest::prop_assert_eq!(inner.text(), Some(&*keep_xml_chars(&text)));
            proptest::prop_assert_eq!(write_element(&root), written);
        }
    }
}
