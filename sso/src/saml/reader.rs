//! The reader: a text in, a tree of [`XmlElement`]s or an [`XmlFault`] out.
//!
//! quick-xml splits the text; every tag is then read by the grammar (`tag.rs`), and every name gets its namespace. It
//! keeps a stack of its own and never calls itself, so that depth costs no stack.

use std::borrow::Cow;
use std::sync::Arc;

use quick_xml::events::{BytesStart, Event};

use super::tag::{
    WrittenTag, is_absolute_uri, is_xml_char, read_value, repeated, resolve_reference, split_attributes,
    split_name, split_tag,
};
use super::xml::{
    XmlAttribute, XmlBounds, XmlDeclaration, XmlElement, XmlFault, XmlNode, find_namespace, is_white_space,
    namespace,
};

impl XmlElement {
    /// Reads a document and gives its root.
    pub(crate) fn read_document(text: &str, bounds: &XmlBounds) -> Result<Self, XmlFault> {
        if text.len() > bounds.bytes {
            return Err(XmlFault::too_large("a shorter document", format!("{} bytes", text.len())));
        }
        let text = normalize_line_ends(text.strip_prefix('\u{feff}').unwrap_or(text));
        look_for_forbidden(&text, bounds)?;
        let mut position = 0;
        TreeReader::new(bounds).read_events(&text, &mut position).map_err(|mut fault| {
            let end = text.floor_char_boundary(position.min(text.len()));
            fault.line = text[..end].matches('\n').count() + 1;
            fault
        })
    }
}

/// Makes each line end `\n` (XML 1.0 §2.11).
fn normalize_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n").into() } else { text.into() }
}

/// Looks for what is refused wherever it stands, before anything is parsed. A `<` cannot stand in a text or a value.
fn look_for_forbidden(text: &str, bounds: &XmlBounds) -> Result<(), XmlFault> {
    if let Some(c) = find_wrong_character(text) {
        return Err(XmlFault::malformed("characters of XML", format!("U+{:04X}", u32::from(c))));
    }
    for (at, _) in text.match_indices('<') {
        let markup = &text[at..];
        let is_comment = || markup.starts_with("<!--");
        match markup.as_bytes().get(1) {
            Some(b'!') if markup.starts_with("<![CDATA[") => {
                return Err(XmlFault::forbidden("no CDATA section", "<![CDATA["));
            }
            Some(b'!') if !is_comment() || !bounds.skips_comments => {
                return Err(XmlFault::forbidden("no DOCTYPE and no comment", repeated(markup)));
            }
            Some(b'?') if at > 0 && !bounds.skips_comments => {
                return Err(XmlFault::forbidden("no processing instruction", repeated(markup)));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Finds a character that no document may hold. Nearly every text is done with its bytes.
fn find_wrong_character(text: &str) -> Option<char> {
    let is_plain = |byte: u8| byte >= b' ' && byte != 0xef || matches!(byte, b'\t' | b'\n');
    if text.bytes().all(is_plain) { None } else { text.chars().find(|c| !is_xml_char(*c)) }
}

/// The elements that are open, and what has been read.
struct TreeReader<'a> {
    bounds: &'a XmlBounds,
    open: Vec<XmlElement>,
    root: Option<XmlElement>,
    elements: usize,
    has_begun: bool,
}

impl<'a> TreeReader<'a> {
    fn new(bounds: &'a XmlBounds) -> Self {
        Self { bounds, open: Vec::new(), root: None, elements: 0, has_begun: false }
    }

    fn read_events(mut self, text: &str, position: &mut usize) -> Result<XmlElement, XmlFault> {
        let mut reader = quick_xml::Reader::from_str(text);
        reader.config_mut().check_comments = true;
        loop {
            let event = reader.read_event();
            *position = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            match event.map_err(|error| XmlFault::malformed("well-formed XML", error.to_string()))? {
                Event::Start(tag) => self.open_element(&tag)?,
                Event::Empty(tag) => {
                    self.open_element(&tag)?;
                    self.close_element()?;
                }
                Event::End(_) => self.close_element()?,
                Event::Text(written) => self.take_written_text(read_utf8(&written)?)?,
                Event::GeneralRef(reference) => self.take_reference(read_utf8(&reference)?)?,
                Event::Decl(written) => self.check_declaration(read_utf8(&written)?)?,
                Event::Comment(_) if self.bounds.skips_comments => {}
                Event::PI(written) if self.bounds.skips_comments => check_instruction(read_utf8(&written)?)?,
                Event::Eof => break,
                Event::Comment(_) | Event::PI(_) | Event::DocType(_) | Event::CData(_) => {
                    return Err(XmlFault::forbidden("elements and text only", "other markup"));
                }
            }
            self.has_begun = true;
        }
        if let Some(open) = self.open.last() {
            return Err(XmlFault::malformed("an end tag for every element", open.written_name()));
        }
        self.root.ok_or_else(|| XmlFault::malformed("an XML document", "no element"))
    }

    fn open_element(&mut self, tag: &BytesStart<'_>) -> Result<(), XmlFault> {
        if self.root.is_some() {
            return Err(XmlFault::malformed("one root element", "a second one"));
        }
        self.elements += 1;
        if self.elements > self.bounds.elements || self.open.len() >= self.bounds.depth {
            let got = format!("more than {} elements, or {} deep", self.bounds.elements, self.bounds.depth);
            return Err(XmlFault::too_large("fewer elements", got));
        }
        let written = read_utf8(tag)?;
        if written.len() > self.bounds.tag_bytes {
            return Err(XmlFault::too_large("shorter tags", format!("a tag of {} bytes", written.len())));
        }
        let outer = self.open.last().and_then(|parent| parent.declarations.clone());
        self.open.push(make_element(&split_tag(written, self.bounds.attributes)?, outer, self.bounds)?);
        Ok(())
    }

    fn close_element(&mut self) -> Result<(), XmlFault> {
        let closed =
            self.open.pop().ok_or_else(|| XmlFault::malformed("a start tag before each end tag", "none"))?;
        match self.open.last_mut() {
            Some(parent) => parent.children.push(XmlNode::Element(closed)),
            None => self.root = Some(closed),
        }
        Ok(())
    }

    fn take_written_text(&mut self, text: &str) -> Result<(), XmlFault> {
        if self.open.is_empty() && !text.chars().all(is_white_space) {
            return Err(text_outside(text));
        }
        if text.contains("]]>") {
            return Err(XmlFault::malformed("no ]]> in a text", repeated(text)));
        }
        if self.open.is_empty() && text.chars().all(is_white_space) {
            return Ok(());
        }
        self.take_text(text)
    }

    fn take_reference(&mut self, reference: &str) -> Result<(), XmlFault> {
        if self.open.is_empty() {
            return Err(text_outside(reference));
        }
        let character = resolve_reference(reference)?;
        self.take_text(character.encode_utf8(&mut [0; 4]))
    }

    fn take_text(&mut self, text: &str) -> Result<(), XmlFault> {
        let Some(parent) = self.open.last_mut() else {
            return Err(text_outside(text));
        };
        match parent.children.last_mut() {
            Some(XmlNode::Text(before)) => before.push_str(text),
            _ => parent.children.push(XmlNode::Text(text.to_owned())),
        }
        Ok(())
    }

    /// Checks the XML declaration (XML 1.0 §2.8): at the very beginning, of XML 1.0 in UTF-8.
    fn check_declaration(&self, written: &str) -> Result<(), XmlFault> {
        let fault = || XmlFault::malformed("<?xml version=\"1.0\" encoding=\"UTF-8\"?>", repeated(written));
        let rest = written.strip_prefix("xml").filter(|_| !self.has_begun).ok_or_else(fault)?;
        let mut said = split_attributes(rest, 3)?.into_iter().peekable();
        if said.next() != Some(("version", "1.0")) {
            return Err(fault());
        }
        if said
            .next_if(|(name, _)| *name == "encoding")
            .is_some_and(|(_, is)| !is.eq_ignore_ascii_case("UTF-8"))
        {
            return Err(fault());
        }
        if said.next_if(|(name, _)| *name == "standalone").is_some_and(|(_, is)| !matches!(is, "yes" | "no"))
        {
            return Err(fault());
        }
        said.next().map_or(Ok(()), |_| Err(fault()))
    }
}

/// Checks that a processing instruction is none that only the beginning may hold (XML 1.0 §2.6).
fn check_instruction(written: &str) -> Result<(), XmlFault> {
    let target = written.split(is_white_space).next().unwrap_or("");
    if target.eq_ignore_ascii_case("xml") || split_name(target).is_err() {
        return Err(XmlFault::malformed("a processing instruction with a name", repeated(written)));
    }
    Ok(())
}

fn make_element(
    tag: &WrittenTag<'_>,
    outer: Option<Arc<XmlDeclaration>>,
    bounds: &XmlBounds,
) -> Result<XmlElement, XmlFault> {
    let declarations = declare_namespaces(tag, outer, bounds)?;
    let resolve = |prefix: &str| match find_namespace(declarations.as_ref(), prefix) {
        Some(found) => Ok(Arc::clone(found)),
        None if prefix.is_empty() => Ok(Arc::default()),
        None if prefix == "xml" => Ok(namespace::XML.into()),
        None => Err(XmlFault::malformed("prefixes that are declared", repeated(prefix))),
    };
    let (prefix, local) = split_name(tag.name)?;
    let name = (prefix.to_owned(), local.to_owned(), resolve(prefix)?);
    let mut attributes: Vec<XmlAttribute> = Vec::with_capacity(tag.attributes.len());
    for (written, value) in &tag.attributes {
        if declared_prefix(written).is_some() {
            continue;
        }
        let (prefix, local) = split_name(written)?;
        let namespace = if prefix.is_empty() { Arc::default() } else { resolve(prefix)? };
        if attributes.iter().any(|before| before.local == local && before.namespace == namespace) {
            return Err(XmlFault::malformed("each attribute once", repeated(written)));
        }
        let value = read_value(value)?;
        attributes.push(XmlAttribute {
            prefix: prefix.to_owned(),
            local: local.to_owned(),
            namespace,
            value,
        });
    }
    let (prefix, local, namespace) = name;
    Ok(XmlElement { prefix, local, namespace, declarations, attributes, children: Vec::new() })
}

/// The prefix that an attribute declares; the empty one is the default namespace.
fn declared_prefix(name: &str) -> Option<&str> {
    if name == "xmlns" { Some("") } else { name.strip_prefix("xmlns:") }
}

fn declare_namespaces(
    tag: &WrittenTag<'_>,
    outer: Option<Arc<XmlDeclaration>>,
    bounds: &XmlBounds,
) -> Result<Option<Arc<XmlDeclaration>>, XmlFault> {
    let mut own: Vec<&str> = Vec::new();
    let mut declared = outer;
    for (name, value) in &tag.attributes {
        let Some(prefix) = declared_prefix(name) else { continue };
        if own.contains(&prefix) {
            return Err(XmlFault::malformed("each namespace declaration once", repeated(name)));
        }
        own.push(prefix);
        let namespace = read_value(value)?;
        check_namespace(name, prefix, &namespace)?;
        // The prefix xml holds without one.
        if prefix != "xml" {
            let prefix = prefix.to_owned();
            declared =
                Some(Arc::new(XmlDeclaration { prefix, namespace: namespace.into(), outer: declared }));
        }
    }
    if !own.is_empty() && count_declarations(declared.as_ref()) > bounds.declarations {
        let got = format!("more than {} at one place", bounds.declarations);
        return Err(XmlFault::too_large("fewer namespace declarations", got));
    }
    Ok(declared)
}

/// Checks the rules of Namespaces in XML 1.0 §3, and that the namespace is an absolute URI.
fn check_namespace(name: &str, prefix: &str, namespace: &str) -> Result<(), XmlFault> {
    let is_reserved =
        matches!(prefix, "xml" | "xmlns") || matches!(namespace, namespace::XML | namespace::XMLNS);
    if is_reserved && (prefix, namespace) != ("xml", namespace::XML) {
        return Err(XmlFault::malformed("no reserved prefix or namespace", repeated(name)));
    }
    split_name(name)?;
    match namespace {
        "" if prefix.is_empty() => Ok(()),
        "" => Err(XmlFault::malformed("a namespace for every prefix", repeated(name))),
        uri if is_absolute_uri(uri) => Ok(()),
        other => Err(XmlFault::forbidden("namespaces that are absolute URIs", repeated(other))),
    }
}

fn count_declarations(declared: Option<&Arc<XmlDeclaration>>) -> usize {
    std::iter::successors(declared, |declaration| declaration.outer.as_ref()).count()
}

fn read_utf8(bytes: &[u8]) -> Result<&str, XmlFault> {
    std::str::from_utf8(bytes).map_err(|_| XmlFault::malformed("UTF-8", "other bytes"))
}

/// Text outside of every element: the file is of another kind then, a key perhaps, so nothing of it is repeated.
fn text_outside(text: &str) -> XmlFault {
    let kind =
        if text.trim_start().starts_with("-----BEGIN ") { "a PEM block" } else { "text that is no XML" };
    XmlFault::malformed("nothing beside the root element", kind)
}

#[cfg(test)]
mod tests {
    use super::super::xml::XmlFaultKind::{self, Forbidden, Malformed, TooLarge};
    use super::*;

    fn read(text: &str) -> Result<XmlElement, XmlFault> {
        XmlElement::read_document(text, &XmlBounds::MESSAGE)
    }

    #[test]
    fn nothing_is_repeated_of_a_file_that_is_no_xml() {
        for hidden in [
            "-----BEGIN PRIVATE KEY-----\nhidden",
            "hidden",
            "&hidden;",
            "hidden]]>",
            " <a/> hidden",
            "a<hidden",
        ] {
            let said = format!("{:?}", read(hidden).unwrap_err());
            assert!(!said.contains("hidden"), "{said}");
        }
    }

    fn kind(text: &str) -> Option<XmlFaultKind> {
        read(text).err().map(|fault| fault.kind)
    }

    #[test]
    fn every_name_has_its_namespace() {
        let root = read(
            "\u{feff}<?xml version='1.0' encoding='utf-8'?>\r\n<a xmlns='urn:1' xmlns:p='urn:2' p:x='1' x='2'>\
             <p:b xmlns='' xml:lang='de'><c/></p:b>t&amp;\r\nu&#13;</a>\n",
        )
        .unwrap();
        assert!(root.is("urn:1", "a"));
        assert_eq!((root.attribute("x"), root.attribute_of("urn:2", "x")), (Some("2"), Some("1")));
        let inner = root.first_named("urn:2", "b").unwrap();
        assert_eq!(inner.attribute_of(namespace::XML, "lang"), Some("de"));
        assert!(inner.first_named("", "c").is_some());
        assert!(matches!(&root.children[1], XmlNode::Text(text) if text == "t&\nu\r"));
        let names: Vec<_> = root.descendants().map(XmlElement::written_name).collect();
        assert_eq!(names, ["a", "p:b", "c"]);
    }

    #[test]
    fn what_is_not_well_formed_is_not_read() {
        let wrong = [
            "",
            " ",
            "a",
            "<a>",
            "<a></b>",
            "</a>",
            "<a/><b/>",
            "<a/>x",
            "x<a/>",
            "<a/>&amp;",
            "<a",
            "<a b></a>",
            "<a b=c/>",
            "<a b='1' b='2'/>",
            "<a b='1'c='2'/>",
            "<a b='<'/>",
            "<p:a/>",
            "<a p:b=''/>",
            "<1a/>",
            "< a/>",
            "<a/ >",
            "<a></ a>",
            "<a></a b=''>",
            "<a>&amp</a>",
            "<a>&#0;</a>",
            "<a>]]></a>",
            "<a>\u{0}</a>",
            "<a>\u{ffff}</a>",
            "<a xmlns:p=''/>",
            "<a xmlns:xml='urn:x'/>",
            "<a xmlns:xmlns='urn:x'/>",
            "<a xmlns:p='urn:1' xmlns:p='urn:1'/>",
            "<a xmlns:p='urn:1' xmlns:q='urn:1' p:b='' q:b=''/>",
            "<a xmlns:p='http://www.w3.org/XML/1998/namespace'/>",
            "<xmlns:a/>",
            "<a:b:c xmlns:a='urn:1'/>",
            "<?xml version='1.1'?><a/>",
            "<?xml version='1.0' encoding='UTF-7'?><a/>",
            "<?xml encoding='UTF-8'?><a/>",
            "<?xml version='1.0' a='b'?><a/>",
            "<a>\u{fffe}</a>",
            "<a xmlns:='urn:1'/>",
            "<?xml version='1.0'?>",
        ];
        for text in wrong {
            assert_eq!(kind(text), Some(Malformed), "{text}");
        }
    }

    #[test]
    fn what_no_message_needs_is_forbidden() {
        let wrong = [
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>",
            "<a>&b;</a>",
            "<a b='&b;'/>",
            "<a><!-- b --></a>",
            "<!----><a/>",
            "<a/><!-- -->",
            "<a><?b?></a>",
            "<?b?><a/>",
            "<a/><?b c?>",
            "<a><![CDATA[b]]></a>",
            "<a xmlns='b'/>",
            "<a xmlns:p='../b'/>",
            " <?xml version='1.0'?><a/>",
        ];
        for text in wrong {
            assert_eq!(kind(text), Some(Forbidden), "{text}");
        }
    }

    #[test]
    fn each_bound_is_kept() {
        let bounds = XmlBounds::MESSAGE;
        let deep = |n| "<a>".repeat(n) + &"</a>".repeat(n);
        let wide = |n| format!("<a {}/>", (0..n).map(|i| format!(" b{i}=''")).collect::<String>());
        let many = |n| format!("<a>{}</a>", "<b/>".repeat(n));
        let declared = |n| {
            let open: String = (0..n).map(|i| format!("<a xmlns:p{i}='urn:1' xmlns:q{i}='urn:1'>")).collect();
            open + &"</a>".repeat(n)
        };
        let tag = |n| format!("<a b='{}'/>", "c".repeat(n - 6));
        let text = |n| format!("<a>{}</a>", "c".repeat(n - 7));
        for (fits, passes) in [
            (deep(bounds.depth), deep(bounds.depth + 1)),
            (wide(bounds.attributes), wide(bounds.attributes + 1)),
            (many(bounds.elements - 1), many(bounds.elements)),
            (declared(bounds.declarations / 2), declared(bounds.declarations / 2 + 1)),
            (tag(bounds.tag_bytes), tag(bounds.tag_bytes + 1)),
            (text(bounds.bytes), text(bounds.bytes + 1)),
        ] {
            assert_eq!(kind(&fits), None);
            assert_eq!(kind(&passes), Some(TooLarge));
        }
    }

    #[test]
    fn metadata_may_hold_comments_and_a_fault_names_its_line() {
        let read = |text| XmlElement::read_document(text, &XmlBounds::METADATA);
        assert!(
            read("<!-- a --><?b c?><a>1<!-- -->2</a><!-- -->").is_ok_and(|root| root.text() == Some("12"))
        );
        assert!(read("<!DOCTYPE a><a/>").is_err_and(|fault| fault.kind == Forbidden));
        assert!(read("<a><?xml version='1.0'?></a>").is_err());
        assert!(read("<a><!-- -- --></a>").is_err());
        assert_eq!(read("<a>\n\n<b c></b></a>").unwrap_err().line, 3);
    }
}
