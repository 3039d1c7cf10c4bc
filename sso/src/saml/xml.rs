//! The tree of an XML document that is plain enough to be read in one way only.
//!
//! `XmlElement::read_document` (`reader.rs`) makes it, within the bounds of an [`XmlBounds`], or says in an [`XmlFault`] what it
//! does not take: DOCTYPE, entities of the document's own, CDATA, processing instructions, namespaces that are
//! undeclared or relative, anything that is not well-formed. Every name in the tree has its namespace, so nobody who
//! reads it compares prefixes. It keeps what canonicalization needs and nothing else.

use std::sync::Arc;

use crate::{Class, LoginRefusal};

/// The namespaces that SAML documents are made of.
pub(crate) mod namespace {
    pub(crate) const ASSERTION: &str = "urn:oasis:names:tc:SAML:2.0:assertion";
    pub(crate) const METADATA: &str = "urn:oasis:names:tc:SAML:2.0:metadata";
    pub(crate) const PROTOCOL: &str = "urn:oasis:names:tc:SAML:2.0:protocol";
    pub(crate) const SIGNATURE: &str = "http://www.w3.org/2000/09/xmldsig#";
    pub(crate) const ENCRYPTION: &str = "http://www.w3.org/2001/04/xmlenc#";
    pub(crate) const EXCLUSIVE_C14N: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
    pub(crate) const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
    pub(crate) const XML: &str = "http://www.w3.org/XML/1998/namespace";
    pub(crate) const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
}

/// The bounds of a document that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct XmlBounds {
    /// Bytes of the whole.
    pub(crate) bytes: usize,
    /// Bytes between the `<` and the `>` of a start tag.
    pub(crate) tag_bytes: usize,
    /// Attributes of an element, namespace declarations among them.
    pub(crate) attributes: usize,
    /// Namespace declarations that hold at any one place.
    pub(crate) declarations: usize,
    /// Elements within elements.
    pub(crate) depth: usize,
    /// Elements in all.
    pub(crate) elements: usize,
    /// Comments and processing instructions are read over; else they are refused.
    pub(crate) skips_comments: bool,
}

impl XmlBounds {
    /// The bounds of a message that a browser brings.
    pub(crate) const MESSAGE: Self = Self {
        bytes: 384 * 1024,
        tag_bytes: 4096,
        attributes: 24,
        declarations: 64,
        depth: 40,
        elements: 20_000,
        skips_comments: false,
    };

    /// The bounds of the canonical text of a message.
    pub(crate) const CANONICAL: Self = Self::MESSAGE.of_canonical_text();

    /// The bounds of a metadata document, which an operator chose.
    pub(crate) const METADATA: Self =
        Self { bytes: 10 * 1024 * 1024, elements: 400_000, skips_comments: true, ..Self::MESSAGE };

    /// The bounds of the canonical text of a document of these, in which an end of line in a value is five bytes.
    pub(crate) const fn of_canonical_text(self) -> Self {
        Self { bytes: 5 * self.bytes, tag_bytes: 5 * self.tag_bytes, ..self }
    }
}

/// The kind of fault in a document that is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum XmlFaultKind {
    /// A bound is passed.
    TooLarge,
    /// The document is not well-formed, or not by the rules of namespaces.
    Malformed,
    /// The document is well-formed and holds what is not read.
    Forbidden,
}

/// A document that is not read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct XmlFault {
    /// The kind of fault.
    pub(crate) kind: XmlFaultKind,
    /// The rule that is broken.
    pub(crate) expected: &'static str,
    /// The text that came; not yet fit to be shown.
    pub(crate) got: String,
    /// The line in which it stands, from 1; 0 where there is none.
    pub(crate) line: usize,
}

impl XmlFault {
    pub(crate) fn new(kind: XmlFaultKind, expected: &'static str, got: impl Into<String>) -> Self {
        Self { kind, expected, got: got.into(), line: 0 }
    }

    pub(crate) fn malformed(expected: &'static str, got: impl Into<String>) -> Self {
        Self::new(XmlFaultKind::Malformed, expected, got)
    }

    pub(crate) fn forbidden(expected: &'static str, got: impl Into<String>) -> Self {
        Self::new(XmlFaultKind::Forbidden, expected, got)
    }

    pub(crate) fn too_large(expected: &'static str, got: impl Into<String>) -> Self {
        Self::new(XmlFaultKind::TooLarge, expected, got)
    }
}

impl From<XmlFault> for LoginRefusal {
    fn from(fault: XmlFault) -> Self {
        let (class, remedy) = match fault.kind {
            XmlFaultKind::TooLarge => (
                Class::SamlTooLarge,
                "No identity provider sends so much for one login. Leave attributes and groups out that the \
                 application does not need, in the attribute settings of the identity provider's application.",
            ),
            XmlFaultKind::Malformed => (
                Class::SamlMalformed,
                "The message is no XML that can be read. Post the identity provider's SAMLResponse unchanged to the \
                 ACS URL.",
            ),
            XmlFaultKind::Forbidden => (
                Class::SamlForbiddenXml,
                "No identity provider sends this. Look for somebody who changes messages on their way, and tell the \
                 identity provider's support if it is its own.",
            ),
        };
        let got = if fault.line > 1 { format!("{} (line {})", fault.got, fault.line) } else { fault.got };
        Self::new(class, fault.expected, got, remedy)
    }
}

/// A namespace declaration and those around it, the nearest first.
#[derive(Debug)]
pub(crate) struct XmlDeclaration {
    pub(crate) prefix: String,
    pub(crate) namespace: Arc<str>,
    pub(crate) outer: Option<Arc<XmlDeclaration>>,
}

/// An attribute; namespace declarations are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct XmlAttribute {
    pub(crate) prefix: String,
    pub(crate) local: String,
    /// Empty for an attribute without a prefix.
    pub(crate) namespace: Arc<str>,
    /// The value, normalized as XML 1.0 §3.3.3 says.
    pub(crate) value: String,
}

/// An element with all below it.
#[derive(Clone, Debug)]
pub(crate) struct XmlElement {
    pub(crate) prefix: String,
    pub(crate) local: String,
    /// Empty for an element in no namespace.
    pub(crate) namespace: Arc<str>,
    /// The declarations that hold here, this element's own among them.
    pub(crate) declarations: Option<Arc<XmlDeclaration>>,
    pub(crate) attributes: Vec<XmlAttribute>,
    pub(crate) children: Vec<XmlNode>,
}

/// A child of an element. Two texts never stand side by side.
#[derive(Clone, Debug)]
pub(crate) enum XmlNode {
    /// An element.
    Element(XmlElement),
    /// A text, its references resolved and its line ends made `\n`.
    Text(String),
}

impl XmlElement {
    /// Tells whether the element has this name in this namespace.
    pub(crate) fn is(&self, namespace: &str, local: &str) -> bool {
        self.local == local && *self.namespace == *namespace
    }

    /// The name as it is written, for whoever reads a message.
    pub(crate) fn written_name(&self) -> String {
        if self.prefix.is_empty() { self.local.clone() } else { format!("{}:{}", self.prefix, self.local) }
    }

    /// The value of an attribute without a namespace.
    pub(crate) fn attribute(&self, local: &str) -> Option<&str> {
        self.attribute_of("", local)
    }

    /// The value of an attribute of a namespace.
    pub(crate) fn attribute_of(&self, namespace: &str, local: &str) -> Option<&str> {
        let mut found = self.attributes.iter();
        found
            .find(|attribute| attribute.local == local && *attribute.namespace == *namespace)
            .map(|attribute| attribute.value.as_str())
    }

    /// The elements directly below.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &XmlElement> {
        self.children.iter().filter_map(|child| match child {
            XmlNode::Element(element) => Some(element),
            XmlNode::Text(_) => None,
        })
    }

    /// The elements directly below that have a name.
    pub(crate) fn elements_named<'a>(
        &'a self,
        namespace: &'a str,
        local: &'a str,
    ) -> impl Iterator<Item = &'a XmlElement> {
        self.elements().filter(move |element| element.is(namespace, local))
    }

    /// The first element directly below that has a name.
    pub(crate) fn first_named(&self, namespace: &str, local: &str) -> Option<&XmlElement> {
        self.elements().find(|element| element.is(namespace, local))
    }

    /// The element and all below it, in the order of the document.
    pub(crate) fn descendants(&self) -> impl Iterator<Item = &XmlElement> {
        let mut waiting = vec![self];
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            let below = waiting.len();
            waiting.extend(next.elements());
            waiting[below..].reverse();
            Some(next)
        })
    }

    /// The text of an element that holds nothing but text; `None` where it holds an element.
    pub(crate) fn text(&self) -> Option<&str> {
        match &*self.children {
            [] => Some(""),
            [XmlNode::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// Tells whether there is text besides white space directly below.
    pub(crate) fn has_own_text(&self) -> bool {
        self.children
            .iter()
            .any(|child| matches!(child, XmlNode::Text(text) if !text.chars().all(is_white_space)))
    }

    /// The namespace that a prefix stands for here; the empty prefix stands for the default namespace.
    pub(crate) fn namespace_of(&self, prefix: &str) -> Option<&Arc<str>> {
        find_namespace(self.declarations.as_ref(), prefix)
    }
}

/// The nearest declaration of a prefix. The one of `xml` holds everywhere and is not found here.
pub(crate) fn find_namespace<'a>(
    mut declared: Option<&'a Arc<XmlDeclaration>>,
    prefix: &str,
) -> Option<&'a Arc<str>> {
    while let Some(declaration) = declared {
        if declaration.prefix == prefix {
            return Some(&declaration.namespace);
        }
        declared = declaration.outer.as_ref();
    }
    None
}

/// White space as XML means it (XML 1.0 §2.3).
pub(crate) fn is_white_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}
