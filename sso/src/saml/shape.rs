//! The shape of a message: every element that decides something stands in its one place, so that a signature cannot be
//! over one assertion and the reading of another (signature wrapping).

use std::collections::HashSet;

use super::tag::is_ncname;
use super::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// Elements that stand where they are looked for and nowhere else, in no namespace.
const SINGULAR: [&str; 5] = ["Response", "Assertion", "EncryptedAssertion", "Signature", "SignedInfo"];
/// Names that some library takes for the one that a signature refers to; compared in small letters.
const ID_LIKE: [&str; 4] = ["id", "assertionid", "responseid", "requestid"];

/// Checks that a document is a response with one assertion, plain or encrypted, and nothing that could be taken for
/// another.
pub(crate) fn check_response(root: &XmlElement) -> Result<(), LoginRefusal> {
    if !root.is(namespace::PROTOCOL, "Response") {
        return Err(refuse_shape("a samlp:Response", describe_element(root)));
    }
    check_children(root)?;
    let payload = find_payload(root)?;
    let is_plain = payload.is(namespace::ASSERTION, "Assertion");
    if !is_plain {
        check_encrypted(payload)?;
    }
    let owners = if is_plain { vec![root, payload] } else { vec![root] };
    check_places(root, &owners)
}

/// Checks that a document is an assertion: what an encrypted one opens to.
pub(crate) fn check_assertion(root: &XmlElement) -> Result<(), LoginRefusal> {
    if !root.is(namespace::ASSERTION, "Assertion") {
        return Err(refuse_shape("a saml:Assertion in EncryptedAssertion", describe_element(root)));
    }
    check_places(root, &[root])
}

/// Checks the places of what is signed and of what a signature refers to: `owners` may have an ID and hold a signature,
/// and nothing else may.
pub(crate) fn check_places(root: &XmlElement, owners: &[&XmlElement]) -> Result<(), LoginRefusal> {
    let is_owner = |element: &XmlElement| owners.iter().any(|owner| std::ptr::eq(*owner, element));
    let mut places: HashSet<*const XmlElement> =
        owners.iter().map(|owner| std::ptr::from_ref(*owner)).collect();
    for owner in owners {
        for signature in owner.elements_named(namespace::SIGNATURE, "Signature") {
            places.insert(signature);
            places
                .extend(signature.elements_named(namespace::SIGNATURE, "SignedInfo").map(std::ptr::from_ref));
        }
        places
            .extend(owner.elements_named(namespace::ASSERTION, "EncryptedAssertion").map(std::ptr::from_ref));
        if owner.elements_named(namespace::SIGNATURE, "Signature").count() > 1 {
            return Err(refuse_shape("at most one signature of an element", "two"));
        }
        if owner.attribute("ID").is_none() {
            return Err(refuse_shape("an ID", format!("{} without one", owner.written_name())));
        }
    }
    let mut ids = HashSet::new();
    for element in root.descendants() {
        if SINGULAR.contains(&&*element.local) && !places.contains(&std::ptr::from_ref(element)) {
            return Err(refuse_shape(
                "each of Response, Assertion and Signature in its place",
                describe_element(element),
            ));
        }
        check_ids(element, is_owner(element), &mut ids)?;
    }
    Ok(())
}

fn check_children(root: &XmlElement) -> Result<(), LoginRefusal> {
    if root.has_own_text() {
        return Err(refuse_shape("elements only in a Response", "text"));
    }
    let mut before = HashSet::new();
    for child in root.elements() {
        let is_known = match &*child.namespace {
            namespace::ASSERTION => matches!(&*child.local, "Issuer" | "Assertion" | "EncryptedAssertion"),
            namespace::PROTOCOL => matches!(&*child.local, "Status" | "Extensions"),
            namespace::SIGNATURE => child.local == "Signature",
            _ => false,
        };
        if !is_known || !before.insert(&*child.local) {
            return Err(refuse_shape("each part of a Response once, and no other", describe_element(child)));
        }
    }
    let extensions = root.first_named(namespace::PROTOCOL, "Extensions");
    let inside = extensions.into_iter().flat_map(|extensions| extensions.descendants().skip(1));
    match inside.into_iter().find(|element| is_decisive(&element.namespace)) {
        Some(element) => Err(refuse_shape("nothing of SAML in Extensions", describe_element(element))),
        None => Ok(()),
    }
}

/// Tells whether elements of a namespace decide something.
pub(crate) fn is_decisive(of: &str) -> bool {
    matches!(of, namespace::ASSERTION | namespace::PROTOCOL | namespace::SIGNATURE | namespace::ENCRYPTION)
}

/// Finds the one assertion, plain or encrypted. A response without one says why in its status.
fn find_payload(root: &XmlElement) -> Result<&XmlElement, LoginRefusal> {
    let mut payloads = root.elements().filter(|child| {
        *child.namespace == *namespace::ASSERTION
            && matches!(&*child.local, "Assertion" | "EncryptedAssertion")
    });
    match (payloads.next(), payloads.next()) {
        (Some(payload), None) => Ok(payload),
        (Some(_), Some(_)) => Err(refuse_shape("one assertion", "two")),
        (None, _) => {
            super::status::check_status(root)?;
            Err(refuse_shape("an assertion", "a Response without one"))
        }
    }
}

/// Checks the parts of an encrypted element: EncryptedData, and keys beside it.
pub(crate) fn check_encrypted(encrypted: &XmlElement) -> Result<(), LoginRefusal> {
    let data = encrypted.elements_named(namespace::ENCRYPTION, "EncryptedData").count();
    let keys = encrypted.elements_named(namespace::ENCRYPTION, "EncryptedKey").count();
    if data != 1 || encrypted.elements().count() != data + keys || encrypted.has_own_text() {
        return Err(refuse_shape("one EncryptedData, and keys beside it", describe_element(encrypted)));
    }
    Ok(())
}

/// Checks that an element has an ID only where one is looked for: `ID` on what may be signed, `Id` on what belongs to
/// XML Signature and Encryption, each a name, none twice.
fn check_ids<'a>(
    element: &'a XmlElement,
    is_owner: bool,
    ids: &mut HashSet<&'a str>,
) -> Result<(), LoginRefusal> {
    for attribute in &element.attributes {
        if !ID_LIKE.iter().any(|name| attribute.local.eq_ignore_ascii_case(name)) {
            continue;
        }
        let is_in_place = attribute.namespace.is_empty()
            && match &*attribute.local {
                "ID" => is_owner,
                "Id" => matches!(&*element.namespace, namespace::SIGNATURE | namespace::ENCRYPTION),
                _ => false,
            };
        if !is_in_place || !is_ncname(&attribute.value) {
            let got = format!("{}=\"{}\" of {}", attribute.local, attribute.value, element.written_name());
            return Err(refuse_shape("IDs in their places only", got));
        }
        if !ids.insert(&attribute.value) {
            return Err(refuse_shape("each ID once", &attribute.value));
        }
    }
    Ok(())
}

/// Names an element and its namespace, for whoever reads a refusal.
pub(crate) fn describe_element(element: &XmlElement) -> String {
    match &*element.namespace {
        "" => format!("{} of no namespace", element.local),
        uri => format!("{} of {uri}", element.local),
    }
}

pub(crate) fn refuse_shape(expected: &str, got: impl std::fmt::Display) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlStructure,
        expected,
        got,
        "This message can be read two ways, or is none of a login. Look who posts it; if the identity provider itself \
         does, keep the response (`portcullis doctor saml` reads it) and report it.",
    )
}

#[cfg(test)]
mod tests {
    use super::super::xml::XmlBounds;
    use super::*;

    fn class(inside: &str, response_attributes: &str) -> Option<Class> {
        let text = format!(
            "<samlp:Response xmlns:samlp='{}' xmlns:saml='{}' xmlns:ds='{}' ID='r' {response_attributes}>\
             <saml:Issuer>i</saml:Issuer>{inside}</samlp:Response>",
            namespace::PROTOCOL,
            namespace::ASSERTION,
            namespace::SIGNATURE
        );
        let root = XmlElement::read_document(&text, &XmlBounds::MESSAGE).unwrap();
        check_response(&root).err().map(|refusal| refusal.class)
    }

    #[test]
    fn an_id_stands_on_what_may_be_signed_and_on_nothing_else() {
        let inside = |attributes: &str, subject: &str| {
            class(&format!("<saml:Assertion {attributes}><saml:Subject {subject}/></saml:Assertion>"), "")
        };
        assert_eq!(inside("ID='a'", ""), None);
        for (attributes, subject) in [
            ("", ""),
            ("ID='r'", ""),
            ("ID='1'", ""),
            ("ID='a b'", ""),
            ("ID='a'", "ID='b'"),
            ("ID='a'", "Id='b'"),
            ("ID='a'", "xml:id='b'"),
            ("ID='a'", "samlp:ID='b'"),
            ("ID='a' Id='b'", ""),
            ("ID='a' id='b'", ""),
            ("ID='a' AssertionID='b'", ""),
            ("ID='a' saml:ID='b'", ""),
        ] {
            assert_eq!(inside(attributes, subject), Some(Class::SamlStructure), "{attributes}, {subject}");
        }
        assert_eq!(class("<saml:Assertion ID='a'/>", "ResponseID='b'"), Some(Class::SamlStructure));
    }

    #[test]
    fn what_decides_stands_in_its_one_place_whatever_its_namespace() {
        let assertion = "<saml:Assertion ID='a'/>";
        assert_eq!(class(assertion, ""), None);
        for inside in [
            "<saml:Assertion ID='a'/><saml:Assertion ID='b'/>",
            "<saml:Assertion ID='a'><saml:Advice><saml:Assertion ID='b'/></saml:Advice></saml:Assertion>",
            "<saml:Assertion ID='a'><saml:Advice><Assertion/></saml:Advice></saml:Assertion>",
            "<saml:Assertion ID='a'><x:Signature xmlns:x='urn:x'/></saml:Assertion>",
            "<saml:Assertion ID='a'><saml:Subject><ds:Signature/></saml:Subject></saml:Assertion>",
            "<saml:Assertion ID='a'><ds:Signature/><ds:Signature/></saml:Assertion>",
            "<saml:Assertion ID='a'/><samlp:Extensions><saml:Issuer/></samlp:Extensions>",
            "<saml:Assertion ID='a'/><samlp:Extensions/><samlp:Extensions/>",
            "<saml:Assertion ID='a'/><saml:Issuer/>",
            "<saml:Assertion ID='a'/><x:y xmlns:x='urn:x'/>",
            "<saml:Assertion ID='a'/>text",
            "<saml:EncryptedAssertion/>",
        ] {
            assert_eq!(class(inside, ""), Some(Class::SamlStructure), "{inside}");
        }
        let extended = "<samlp:Extensions><x:y xmlns:x='urn:x'/></samlp:Extensions>";
        assert_eq!(class(&format!("{extended}{assertion}"), ""), None);
        assert_eq!(class("", ""), Some(Class::SamlStatus), "a response that says nothing");
    }
}
