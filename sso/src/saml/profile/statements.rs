//! The statements of an assertion: how somebody signed in, and what else is said of them (SAML Core §2.7).

use std::fmt;

use portcullis_policy::Timestamp;

use super::{SamlAttribute, find_only, holds_control, read_text};
use crate::saml::SamlExpectations;
use crate::saml::instant::{check_not_over, read_instant_of};
use crate::saml::shape::{describe_element, refuse_shape};
use crate::saml::xml::{XmlElement, namespace};
use crate::{Class, LoginRefusal};

/// The most values of all attributes together.
const MOST_VALUES: usize = 10_000;

/// The way in which somebody signed in.
pub(super) struct Authn {
    pub(super) session_index: Option<String>,
    pub(super) session_end: Option<Timestamp>,
    pub(super) context: Option<String>,
}

impl fmt::Display for Authn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.context.as_deref().unwrap_or("no authentication context"))
    }
}

/// Reads the statements of how somebody signed in, at least one. The earliest end of a session is its end.
pub(super) fn read_authn(
    assertion: &XmlElement,
    expected: &SamlExpectations<'_>,
) -> Result<Authn, LoginRefusal> {
    let mut authn = Authn { session_index: None, session_end: None, context: None };
    let mut contexts = Vec::new();
    let mut statements = assertion.elements_named(namespace::ASSERTION, "AuthnStatement").peekable();
    if statements.peek().is_none() {
        return Err(LoginRefusal::new(
            Class::SamlSubject,
            "a statement that somebody signed in (AuthnStatement)",
            "none",
            "The assertion is none of a login. Let the identity provider's application answer a web browser sign-on.",
        ));
    }
    for statement in statements {
        if let Some(end) = read_instant_of(statement, "SessionNotOnOrAfter")? {
            check_not_over("SessionNotOnOrAfter", end, expected.now, expected.skew_ms)?;
            authn.session_end = Some(authn.session_end.map_or(end, |before| before.min(end)));
        }
        let index = statement.attribute("SessionIndex").filter(|index| !index.is_empty());
        if index.is_some_and(holds_control) {
            return Err(refuse_header("SessionIndex"));
        }
        authn.session_index = authn.session_index.or_else(|| index.map(str::to_owned));
        let context = find_only(statement, namespace::ASSERTION, "AuthnContext")?;
        for class in context.into_iter().flat_map(XmlElement::elements) {
            if class.is(namespace::ASSERTION, "AuthnContextClassRef") {
                contexts.push(read_text(class)?);
            }
        }
    }
    let is_wanted = |context: &&&str| expected.authn_context.iter().any(|wanted| *wanted == ***context);
    let found = match expected.authn_context {
        [] => contexts.first(),
        _ => Some(contexts.iter().find(is_wanted).ok_or_else(|| refuse_context(&contexts, expected))?),
    };
    authn.context = found.map(|context| (*context).to_owned());
    Ok(authn)
}

/// Reads the attributes that have a value; those of one name are one, whatever their formats (Keycloak sends each role
/// by itself).
pub(super) fn read_attributes(assertion: &XmlElement) -> Result<Vec<SamlAttribute>, LoginRefusal> {
    let mut attributes: Vec<SamlAttribute> = Vec::new();
    let mut values = 0;
    let statements = assertion.elements_named(namespace::ASSERTION, "AttributeStatement");
    for attribute in statements.flat_map(XmlElement::elements) {
        if !attribute.is(namespace::ASSERTION, "Attribute") {
            return Err(refuse_shape("attributes in AttributeStatement", describe_element(attribute)));
        }
        let read = read_attribute_of(attribute)?;
        values += read.values.len();
        if values > MOST_VALUES {
            return Err(refuse_shape("at most 10000 values of attributes", "more"));
        }
        if read.values.is_empty() {
            continue;
        }
        match attributes.iter_mut().find(|before| before.name == read.name) {
            Some(before) => {
                before.values.extend(read.values);
                before.friendly_name = before.friendly_name.take().or(read.friendly_name);
            }
            None => attributes.push(read),
        }
    }
    Ok(attributes)
}

fn read_attribute_of(attribute: &XmlElement) -> Result<SamlAttribute, LoginRefusal> {
    let name = attribute.attribute("Name").filter(|name| !name.trim().is_empty());
    let name = name.ok_or_else(|| refuse_shape("a Name of each Attribute", "none"))?;
    let friendly_name = attribute.attribute("FriendlyName");
    if holds_control(name) || friendly_name.is_some_and(holds_control) {
        return Err(refuse_header("the name of an attribute"));
    }
    let mut values = Vec::new();
    for value in attribute.elements_named(namespace::ASSERTION, "AttributeValue") {
        let Some(text) = read_attribute_value(value) else { continue };
        if holds_control(text) {
            return Err(refuse_header(name));
        }
        values.push(text.to_owned());
    }
    Ok(SamlAttribute { name: name.to_owned(), friendly_name: friendly_name.map(str::to_owned), values })
}

/// The text of a value; `None` where it is nil, or of elements, which say nothing to us.
fn read_attribute_value(value: &XmlElement) -> Option<&str> {
    let nil = value.attribute_of(namespace::SCHEMA_INSTANCE, "nil");
    value.text().filter(|_| !matches!(nil, Some("true" | "1")))
}

fn refuse_header(name: &str) -> LoginRefusal {
    LoginRefusal::new(
        Class::SamlHeader,
        "values without control characters",
        format!("a line end or another one in {name}"),
        "A value with a line end could write a header of its own. Mend it in the directory, or leave the attribute out in \
         the attribute settings of the identity provider's application.",
    )
}

fn refuse_context(contexts: &[&str], expected: &SamlExpectations<'_>) -> LoginRefusal {
    let got = if contexts.is_empty() { "none".to_owned() } else { contexts.join(", ") };
    LoginRefusal::new(
        Class::SamlSubject,
        format!("an authentication context of {}", expected.authn_context.join(", ")),
        got,
        "The person signed in by another way than `authn_context` of the identity provider in our configuration asks \
         for. Ask for it in the sign-on policy of the identity provider's application.",
    )
}
