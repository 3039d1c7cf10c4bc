//! Exclusive canonicalization of an element of our own tree (Exclusive XML Canonicalization 1.0, without comments).
//!
//! Two trees that say the same give the same text, so a signature over the text is one over the tree. This is the
//! second of two canonicalizations; what libxml2's gives must be the same, byte for byte.

use super::xml::{XmlElement, XmlNode};

/// Writes an element without one of its children, the signature that stands within what it signs.
///
/// `inclusive` are the prefixes of an `InclusiveNamespaces` list; the empty one is `#default`.
pub(crate) fn canonicalize_element(
    element: &XmlElement,
    inclusive: &[String],
    left_out: Option<&XmlElement>,
) -> String {
    let mut writer =
        CanonicalWriter { inclusive, left_out, rendered: Vec::new(), text: String::with_capacity(4096) };
    writer.write_element(element);
    writer.text
}

struct CanonicalWriter<'a> {
    inclusive: &'a [String],
    left_out: Option<&'a XmlElement>,
    /// The namespace declarations that were written around the place where we are, the nearest last.
    rendered: Vec<(&'a str, &'a str)>,
    text: String,
}

impl<'a> CanonicalWriter<'a> {
    /// Calls itself as deep as the tree is, which the reader has bounded.
    fn write_element(&mut self, element: &'a XmlElement) {
        let rendered_around = self.rendered.len();
        self.text.push('<');
        self.write_name(&element.prefix, &element.local);
        self.write_declarations(element);
        self.write_attributes(element);
        self.text.push('>');
        for child in &element.children {
            match child {
                XmlNode::Element(child) if self.left_out.is_some_and(|left| std::ptr::eq(left, child)) => {}
                XmlNode::Element(child) => self.write_element(child),
                XmlNode::Text(text) => self.write_text(text),
            }
        }
        self.text.push_str("</");
        self.write_name(&element.prefix, &element.local);
        self.text.push('>');
        self.rendered.truncate(rendered_around);
    }

    fn write_name(&mut self, prefix: &str, local: &str) {
        if !prefix.is_empty() {
            self.text.push_str(prefix);
            self.text.push(':');
        }
        self.text.push_str(local);
    }

    /// Writes the declarations of those prefixes that the element and its attributes use, and of the inclusive ones,
    /// where they are not in force already (§3).
    fn write_declarations(&mut self, element: &'a XmlElement) {
        let in_attributes = element.attributes.iter().map(|attribute| attribute.prefix.as_str());
        let of_names =
            std::iter::once(element.prefix.as_str()).chain(in_attributes.filter(|prefix| !prefix.is_empty()));
        let mut used: Vec<&'a str> = of_names
            .chain(self.inclusive.iter().map(String::as_str))
            .filter(|prefix| *prefix != "xml")
            .collect();
        used.sort_unstable();
        used.dedup();
        for prefix in used {
            let declared = element.namespace_of(prefix).map(|namespace| &**namespace);
            let in_force =
                self.rendered.iter().rev().find(|(before, _)| *before == prefix).map(|(_, is)| *is);
            match declared {
                Some(namespace) if in_force.unwrap_or("") != namespace => {
                    self.write_declaration(prefix, namespace)
                }
                // Only the default namespace can be taken back.
                None if prefix.is_empty() && in_force.is_some_and(|is| !is.is_empty()) => {
                    self.write_declaration("", "")
                }
                _ => {}
            }
        }
    }

    fn write_declaration(&mut self, prefix: &'a str, namespace: &'a str) {
        self.text.push_str(if prefix.is_empty() { " xmlns" } else { " xmlns:" });
        self.text.push_str(prefix);
        self.text.push_str("=\"");
        self.write_value(namespace);
        self.text.push('"');
        self.rendered.push((prefix, namespace));
    }

    fn write_attributes(&mut self, element: &'a XmlElement) {
        let mut attributes: Vec<_> = element.attributes.iter().collect();
        attributes.sort_unstable_by(|a, b| (&*a.namespace, &a.local).cmp(&(&*b.namespace, &b.local)));
        for attribute in attributes {
            self.text.push(' ');
            self.write_name(&attribute.prefix, &attribute.local);
            self.text.push_str("=\"");
            self.write_value(&attribute.value);
            self.text.push('"');
        }
    }

    fn write_text(&mut self, text: &str) {
        self.write_escaped(text, |c| match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '>' => Some("&gt;"),
            '\r' => Some("&#xD;"),
            _ => None,
        });
    }

    fn write_value(&mut self, value: &str) {
        self.write_escaped(value, |c| match c {
            '&' => Some("&amp;"),
            '<' => Some("&lt;"),
            '"' => Some("&quot;"),
            '\t' => Some("&#x9;"),
            '\n' => Some("&#xA;"),
            '\r' => Some("&#xD;"),
            _ => None,
        });
    }

    fn write_escaped(&mut self, text: &str, escape: impl Fn(char) -> Option<&'static str>) {
        let mut rest = text;
        while let Some((at, c, escaped)) =
            rest.char_indices().find_map(|(at, c)| escape(c).map(|escaped| (at, c, escaped)))
        {
            self.text.push_str(&rest[..at]);
            self.text.push_str(escaped);
            rest = &rest[at + c.len_utf8()..];
        }
        self.text.push_str(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::xml::XmlBounds;
    use super::*;

    fn read(text: &str) -> XmlElement {
        XmlElement::read_document(text, &XmlBounds::MESSAGE).unwrap()
    }

    fn canonical(text: &str, inclusive: &[&str]) -> String {
        let inclusive: Vec<String> = inclusive.iter().map(|&prefix| prefix.to_owned()).collect();
        canonicalize_element(&read(text), &inclusive, None)
    }

    #[test]
    fn the_text_is_that_of_the_standard() {
        // Canonical XML 1.0 §3.3 and §3.4, without what a DTD says.
        let text = "<doc>\r\n<e1   />\n<e3   name = \"elem3\"   id=\"elem3\"   />\n\
            <e5 a:attr=\"out\" b:attr=\"sorted\" attr2=\"all\" attr=\"I'm\" xmlns:b=\"http://www.ietf.org\" \
            xmlns:a=\"http://www.w3.org\" xmlns=\"http://example.org\"/>\n\
            <compute expr='value>\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"'>valid</compute>\
            <text>First line&#x0d;&#10;Second line &gt; &#x32;</text>\n<norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/></doc>";
        let canonical_text = "<doc>\n<e1></e1>\n<e3 id=\"elem3\" name=\"elem3\"></e3>\n\
            <e5 xmlns=\"http://example.org\" xmlns:a=\"http://www.w3.org\" xmlns:b=\"http://www.ietf.org\" \
            attr=\"I'm\" attr2=\"all\" b:attr=\"sorted\" a:attr=\"out\"></e5>\n\
            <compute expr=\"value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;\">valid</compute>\
            <text>First line&#xD;\nSecond line &gt; 2</text>\n<norm attr=\" '    &#xD;&#xA;&#x9;   ' \"></norm></doc>";
        assert_eq!(canonical(text, &[]), canonical_text);
    }

    #[test]
    fn only_namespaces_that_are_used_are_written_and_each_where_it_is_first() {
        let text = "<a:x xmlns:a='urn:1' xmlns:b='urn:2' xmlns='urn:3' xmlns:c='urn:4'><b:y b:d=''><a:z/><w/></b:y>\
            <a:v xmlns:a='urn:5'/><u xmlns=''><t/></u></a:x>";
        assert_eq!(
            canonical(text, &[]),
            "<a:x xmlns:a=\"urn:1\"><b:y xmlns:b=\"urn:2\" b:d=\"\"><a:z></a:z><w xmlns=\"urn:3\"></w></b:y>\
             <a:v xmlns:a=\"urn:5\"></a:v><u><t></t></u></a:x>"
        );
        assert_eq!(
            canonical(text, &["", "c", "d"]),
            "<a:x xmlns=\"urn:3\" xmlns:a=\"urn:1\" xmlns:c=\"urn:4\"><b:y xmlns:b=\"urn:2\" b:d=\"\"><a:z></a:z><w></w></b:y>\
             <a:v xmlns:a=\"urn:5\"></a:v><u xmlns=\"\"><t></t></u></a:x>"
        );
    }

    #[test]
    fn one_child_is_left_out_and_its_likeness_is_not() {
        let tree = read("<a><b/>t<b/></a>");
        let second = tree.elements().nth(1);
        assert_eq!(canonicalize_element(&tree, &[], second), "<a><b></b>t</a>");
    }

    #[test]
    fn canonical_text_is_canonical() {
        let once =
            canonical("<p:a xmlns:p='urn:1' b='&#13;&#10;&lt;'>&#13;&amp;<c xmlns='urn:2'/></p:a>", &[]);
        assert_eq!(canonical(&once, &[]), once);
    }
}
