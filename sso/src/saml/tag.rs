//! What stands between `<` and `>`: a start tag, its names and its values, by the grammar of XML 1.0 and of Namespaces
//! in XML 1.0, to the letter. The reader below splits a text into tags; it takes tags that no grammar knows.

use super::xml::{XmlFault, is_white_space};

/// The most bytes of a document that a fault repeats.
const REPEATED: usize = 120;

/// A start tag as it is written: its name and its attributes, namespace declarations among them.
pub(crate) struct WrittenTag<'a> {
    pub(crate) name: &'a str,
    /// Names and values; the values have their references and white space still as written.
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
}

/// Splits a start tag, given without its brackets and the slash of an empty element.
pub(crate) fn split_tag(tag: &str, most: usize) -> Result<WrittenTag<'_>, XmlFault> {
    let name = &tag[..tag.find(is_white_space).unwrap_or(tag.len())];
    let attributes = split_attributes(&tag[name.len()..], most)?;
    Ok(WrittenTag { name, attributes })
}

/// Splits attributes, each with white space before it.
pub(crate) fn split_attributes(mut rest: &str, most: usize) -> Result<Vec<(&str, &str)>, XmlFault> {
    let mut attributes = Vec::new();
    loop {
        let trimmed = rest.trim_start_matches(is_white_space);
        if trimmed.is_empty() {
            return Ok(attributes);
        }
        if trimmed.len() == rest.len() {
            return Err(XmlFault::malformed("white space between attributes", repeated(rest)));
        }
        if attributes.len() == most {
            return Err(XmlFault::too_large("fewer attributes", format!("more than {most} in one element")));
        }
        let (name, value, behind) = split_attribute(trimmed)?;
        attributes.push((name, value));
        rest = behind;
    }
}

fn split_attribute(text: &str) -> Result<(&str, &str, &str), XmlFault> {
    let fault = || XmlFault::malformed("an attribute as name=\"value\"", repeated(text));
    let (name, behind) = text.split_once('=').ok_or_else(fault)?;
    let behind = behind.trim_start_matches(is_white_space);
    let quote = behind.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(fault)?;
    let (value, behind) = behind[1..].split_once(quote).ok_or_else(fault)?;
    if value.contains('<') {
        return Err(XmlFault::malformed("no < in a value", repeated(value)));
    }
    Ok((name.trim_end_matches(is_white_space), value, behind))
}

/// Splits a name into prefix and local part; the prefix is empty where there is none.
pub(crate) fn split_name(name: &str) -> Result<(&str, &str), XmlFault> {
    let (prefix, local) = name.split_once(':').map_or((None, name), |(prefix, local)| (Some(prefix), local));
    if !is_ncname(local) || prefix.is_some_and(|prefix| !is_ncname(prefix)) {
        return Err(XmlFault::malformed("a name with at most one prefix", repeated(name)));
    }
    Ok((prefix.unwrap_or(""), local))
}

/// Tells whether a text is a name without a colon (Namespaces in XML 1.0 §3).
pub(crate) fn is_ncname(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(starts_name) && chars.all(continues_name)
}

fn starts_name(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'a'..='z'
        | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
        | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}'
        | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}'
        | '\u{10000}'..='\u{effff}')
}

fn continues_name(c: char) -> bool {
    starts_name(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

/// The value of an attribute, its white space normalized and its references resolved (XML 1.0 §3.3.3; without a DTD
/// every attribute is of type CDATA). Line ends are `\n` already.
pub(crate) fn read_value(written: &str) -> Result<String, XmlFault> {
    let mut value = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = rest.find(['&', '\t', '\n']) {
        value.push_str(&rest[..at]);
        if !rest[at..].starts_with('&') {
            value.push(' ');
            rest = &rest[at + 1..];
            continue;
        }
        let (reference, behind) = rest[at + 1..]
            .split_once(';')
            .ok_or_else(|| XmlFault::malformed("a reference that ends with ;", repeated(&rest[at..])))?;
        value.push(resolve_reference(reference)?);
        rest = behind;
    }
    value.push_str(rest);
    Ok(value)
}

/// Resolves what stands between `&` and `;`: one of the five entities, or the number of a character.
pub(crate) fn resolve_reference(reference: &str) -> Result<char, XmlFault> {
    let Some(number) = reference.strip_prefix('#') else {
        return match reference {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            name if is_ncname(name) => {
                Err(XmlFault::forbidden("no entity but the five of XML", format!("&{};", repeated(name))))
            }
            other => Err(XmlFault::malformed("a reference", format!("&{}", repeated(other)))),
        };
    };
    let (digits, radix) = number.strip_prefix('x').map_or((number, 10), |digits| (digits, 16));
    let is_number = !digits.is_empty() && digits.len() <= 8 && digits.chars().all(|c| c.is_digit(radix));
    let character = is_number.then(|| u32::from_str_radix(digits, radix).ok()).flatten();
    character.and_then(char::from_u32).filter(|c| is_xml_char(*c)).ok_or_else(|| {
        XmlFault::malformed("the number of a character of XML", format!("&{};", repeated(reference)))
    })
}

/// Tells whether a character may stand in a document at all (XML 1.0 §2.2).
pub(crate) fn is_xml_char(c: char) -> bool {
    !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// Tells whether a namespace is an absolute URI (RFC 3986 §4.3) of letters that nobody escapes, its authority a plain
/// host. Canonicalization of a relative one, or of one that is no URI, is an error in some libraries, and the digest is
/// then of nothing; libxml2 writes an ampersand as it is.
pub(crate) fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
        && !rest.is_empty()
        && rest.chars().all(|c| c.is_ascii_alphanumeric() || "-._~:/?#@!$()*+,;=%".contains(c))
        && rest.matches('#').count() <= 1
        && rest.split('%').skip(1).all(begins_with_hex)
        && rest.strip_prefix("//").is_none_or(|rest| is_plain_authority(rest.split(['/', '?', '#']).next()))
}

fn begins_with_hex(text: &str) -> bool {
    text.get(..2).is_some_and(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()))
}

fn is_plain_authority(authority: Option<&str>) -> bool {
    let (host, port) = authority.map_or(("", None), |authority| match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    });
    !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_'))
        && port.is_none_or(|port| (1..=5).contains(&port.len()) && port.chars().all(|c| c.is_ascii_digit()))
}

/// The beginning of a piece of the document, for a fault.
pub(crate) fn repeated(text: &str) -> &str {
    &text[..text.floor_char_boundary(REPEATED)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_split_by_the_grammar() {
        let tag = split_tag("p:a\n b = 'x>\"' c=\"\"\t", 2).unwrap();
        assert_eq!((tag.name, tag.attributes), ("p:a", vec![("b", "x>\""), ("c", "")]));
        for wrong in ["a b", "a b=c", "a b='x", "a b='1'c='2'", "a b='<'", "a /", "a =''", "a b c=''"] {
            let split = split_tag(wrong, 9)
                .and_then(|tag| tag.attributes.iter().try_for_each(|(name, _)| split_name(name).map(drop)));
            assert!(split.is_err(), "{wrong}");
        }
        assert_eq!(
            split_tag("a b='' c='' d=''", 2).err().map(|fault| fault.expected),
            Some("fewer attributes")
        );
    }

    #[test]
    fn names_have_at_most_one_prefix() {
        assert_eq!(split_name("p:a").unwrap(), ("p", "a"));
        assert_eq!(split_name("\u{e9}-1.\u{b7}").unwrap(), ("", "\u{e9}-1.\u{b7}"));
        for wrong in ["", ":", ":a", "a:", "a:b:c", "1a", "-a", "a b", "a\u{d7}", "\u{300}a", "a:1"] {
            assert!(split_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_are_normalized_and_references_kept_as_they_were_meant() {
        assert_eq!(read_value("a\t\n&#9;&#xA;&amp;&lt;&#x1F600;").unwrap(), "a  \t\n&<\u{1f600}");
        for wrong in
            ["&", "&amp", "&;", "&#;", "&#x;", "&#0;", "&#xD800;", "&#xFFFE;", "&#x110000;", "&#-1;", "&#+1;"]
        {
            assert!(read_value(wrong).is_err(), "{wrong}");
        }
        assert_eq!(read_value("&nbsp;").unwrap_err().kind, super::super::xml::XmlFaultKind::Forbidden);
    }

    #[test]
    fn namespaces_are_absolute() {
        for right in
            ["urn:a", "http://a.test/b?c#d", "x-y:z", "https://a_b.test:8443", "urn:a%2F", "mailto:a@b"]
        {
            assert!(is_absolute_uri(right), "{right}");
        }
        for wrong in [
            "",
            "a",
            "/a",
            "1a:b",
            "a b:c",
            ":a",
            "urn:",
            "http://a b",
            "urn:\u{e9}",
            "http://[::1]/",
            "urn:a&b",
            "http://a:b",
            "http://a:",
            "http:///a",
            "http://a@b",
            "urn:a#b#c",
            "urn:%",
            "urn:%4",
            "urn:%zz",
            "urn:a'b",
        ] {
            assert!(!is_absolute_uri(wrong), "{wrong}");
        }
    }
}
