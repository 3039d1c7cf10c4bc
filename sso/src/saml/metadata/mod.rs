//! Metadata of an identity provider: who it is, where it is asked, and which keys it signs with (SAML Metadata §2).
//!
//! A document that an operator chose, and still bytes from outside: bounded, read in one way, and refused in plain words
//! where it is none. What is only odd in it (a certificate past its end, an address without https) is left out or
//! warned of. Dates of certificates decide nothing; the end of the metadata itself does.

mod duration;
mod endpoint;
mod role;

use portcullis_policy::Timestamp;

use self::duration::read_duration;
pub use self::endpoint::{SamlBinding, SamlEndpoint};
use super::idp_key::IdpKey;
use super::instant::read_instant;
use super::verify::{Trust, verify_document_within};
use super::xml::namespace::METADATA;
use super::xml::{XmlBounds, XmlElement, XmlFaultKind};
use crate::{Class, LoginRefusal};

/// The way in which a metadata document is read.
#[derive(Clone, Copy, Debug)]
pub struct MetadataRules<'a> {
    /// The entity ID of the identity provider; `None` takes the only one in the document.
    pub entity_id: Option<&'a str>,
    /// The certificates of which one must have signed the document; empty where it needs no signature.
    pub pinned: &'a [IdpKey],
    /// Takes addresses on this machine, over plain http: for a deployment whose own public URL is one.
    pub allow_loopback: bool,
    /// The time.
    pub now: Timestamp,
}

/// An identity provider as its metadata describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdpMetadata {
    /// Its name; what it writes as Issuer.
    pub entity_id: String,
    /// The addresses of single sign-on, at least one.
    pub sso: Vec<SamlEndpoint>,
    /// The addresses of single logout.
    pub slo: Vec<SamlEndpoint>,
    /// The keys that it signs with, at least one.
    pub signing: Vec<IdpKey>,
    /// True where it takes no AuthnRequest that is not signed.
    pub want_authn_requests_signed: bool,
    /// The formats of names that it knows.
    pub name_id_formats: Vec<String>,
    /// The moment from which the document says nothing any more.
    pub valid_until: Option<Timestamp>,
    /// The time after which the document should be fetched again, in milliseconds.
    pub cache_ms: Option<i64>,
    /// Sentences for the operator: what was left out or is odd.
    pub warnings: Vec<String>,
    /// The pinned keys of which one has signed the document; none where nothing is pinned.
    pub pinned: Vec<IdpKey>,
}

impl IdpMetadata {
    /// Reads a document, at most 10 MB: one `EntityDescriptor`, or `EntitiesDescriptor` around many.
    ///
    /// # Errors
    /// `metadata`, in plain words; `signature_policy`, `signature_invalid` and `unsigned` where a certificate is pinned.
    pub fn read_document(bytes: &[u8], rules: &MetadataRules<'_>) -> Result<Self, LoginRefusal> {
        let text = read_text(bytes)?;
        // What a signature covers holds no comment: it would not cover that.
        let bounds = XmlBounds { skips_comments: rules.pinned.is_empty(), ..XmlBounds::METADATA };
        let root = XmlElement::read_document(text, &bounds).map_err(|fault| match fault.kind {
            XmlFaultKind::TooLarge => refuse_size(fault.expected, &fault.got),
            _ if is_html(text) => refuse_html(),
            kind => refuse_xml(kind, &fault.into()),
        })?;
        if root.local.eq_ignore_ascii_case("html") {
            return Err(refuse_html());
        }
        let verified;
        let root = if rules.pinned.is_empty() {
            &root
        } else {
            verified = verify_pinned(text, &root, rules.pinned)?;
            &verified
        };
        let entity = find_entity(root, rules)?;
        check_lifetime(&entity, rules.now)?;
        role::read_idp(&entity, rules)
    }
}

/// An entity in a document, with the bounds of its time that those around it set too.
struct FoundEntity<'a> {
    element: &'a XmlElement,
    entity_id: &'a str,
    valid_until: Option<Timestamp>,
    cache_ms: Option<i64>,
}

impl FoundEntity<'_> {
    /// Narrows the bounds by those that an element sets.
    fn narrow(&mut self, element: &XmlElement) -> Result<(), LoginRefusal> {
        if let Some(text) = element.attribute("validUntil") {
            let until = read_instant(text).ok_or_else(|| refuse_time("validUntil", text))?;
            self.valid_until = Some(self.valid_until.map_or(until, |before| before.min(until)));
        }
        if let Some(text) = element.attribute("cacheDuration") {
            let ms = read_duration(text).ok_or_else(|| refuse_time("cacheDuration", text))?;
            self.cache_ms = Some(self.cache_ms.map_or(ms, |before| before.min(ms)));
        }
        Ok(())
    }
}

fn read_text(bytes: &[u8]) -> Result<&str, LoginRefusal> {
    if bytes.len() > XmlBounds::METADATA.bytes {
        return Err(refuse_size("at most 10 MB", &format!("{} bytes", bytes.len())));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(refuse_metadata("XML in UTF-8", "UTF-16", "Save the metadata file again as UTF-8."));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let remedy = "Download the metadata again: this is no text, perhaps a certificate or an archive.";
        refuse_metadata("XML in UTF-8", "bytes that are no UTF-8", remedy)
    })?;
    if text.trim_matches(['\u{feff}', ' ', '\t', '\r', '\n']).is_empty() {
        let remedy = "Download the metadata again from the identity provider's application; the file has nothing in it.";
        return Err(refuse_metadata("metadata", "an empty document", remedy));
    }
    Ok(text)
}

fn is_html(text: &str) -> bool {
    let head: String = text.chars().take(2000).collect::<String>().to_ascii_lowercase();
    head.contains("<!doctype html") || head.contains("<html")
}

/// Verifies the signature of the document itself and gives its root as it was signed.
fn verify_pinned(text: &str, root: &XmlElement, pinned: &[IdpKey]) -> Result<XmlElement, LoginRefusal> {
    let id = root.attribute("ID").unwrap_or_default();
    let bears_id = |element: &&XmlElement| {
        let mut ids = element.attributes.iter().filter(|is| is.local.eq_ignore_ascii_case("id"));
        ids.any(|attribute| attribute.value == id)
    };
    if root.descendants().filter(bears_id).count() > 1 {
        return Err(refuse_metadata("the ID of the signed element once", format!("{id} twice"), ASK_AGAIN));
    }
    let trust = Trust { keys: pinned, allow_sha1: false, ask_engine_always: false };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    verify_document_within(text, &[root], &trust, &XmlBounds::METADATA.of_canonical_text())
        .map(|signed| signed.root)
}

/// Finds the identity provider that is meant.
fn find_entity<'a>(root: &'a XmlElement, rules: &MetadataRules<'_>) -> Result<FoundEntity<'a>, LoginRefusal> {
    let entities = list_entities(root)?;
    let chosen: Vec<_> = match rules.entity_id {
        Some(wanted) => entities.iter().filter(|entity| entity.entity_id == wanted).collect(),
        None if entities.len() == 1 => entities.iter().collect(),
        None => entities.iter().filter(|entity| role::has_idp_role(entity.element)).collect(),
    };
    match (&*chosen, rules.entity_id) {
        ([one], _) => {
            let FoundEntity { element, entity_id, valid_until, cache_ms } = **one;
            Ok(FoundEntity { element, entity_id, valid_until, cache_ms })
        }
        ([], Some(wanted)) => Err(refuse_metadata(
            format!("the entityID {wanted}"),
            list_names(&entities),
            "Set `entity_id` of the identity provider in our configuration to the entityID of its metadata, exactly, or \
             download the metadata of the right application.",
        )),
        ([], None) => Err(role::refuse_missing_role(&list_names(&entities))),
        (_, Some(wanted)) => Err(refuse_metadata(format!("{wanted} once"), "it more than once", ASK_AGAIN)),
        (several, None) => Err(refuse_metadata(
            "one identity provider",
            format!("{} of them: {}", several.len(), list_names(several.iter().copied())),
            "Say which one is meant: set `entity_id` of the identity provider in our configuration.",
        )),
    }
}

/// Lists the entities of a document. Only `EntitiesDescriptor` may stand around them.
fn list_entities(root: &XmlElement) -> Result<Vec<FoundEntity<'_>>, LoginRefusal> {
    let mut found = Vec::new();
    let mut waiting = vec![(root, None, None)];
    while let Some((element, valid_until, cache_ms)) = waiting.pop() {
        let entity_id = element.attribute("entityID").unwrap_or_default();
        let mut entity = FoundEntity { element, entity_id, valid_until, cache_ms };
        if element.is(METADATA, "EntityDescriptor") {
            entity.narrow(element)?;
            found.push(entity);
        } else if element.is(METADATA, "EntitiesDescriptor") {
            entity.narrow(element)?;
            let below = waiting.len();
            waiting.extend(element.elements().map(|inner| (inner, entity.valid_until, entity.cache_ms)));
            waiting[below..].reverse();
        } else if std::ptr::eq(element, root) {
            return Err(refuse_root(root));
        }
    }
    Ok(found)
}

fn list_names<'a>(entities: impl IntoIterator<Item = &'a FoundEntity<'a>>) -> String {
    const MOST: usize = 5;
    let names: Vec<_> = entities.into_iter().map(|entity| entity.entity_id).collect();
    let more = if names.len() > MOST { format!(" and {} more", names.len() - MOST) } else { String::new() };
    match &*names {
        [] => "no entity at all".to_owned(),
        _ => format!("{}{more}", names[..names.len().min(MOST)].join(", ")),
    }
}

fn check_lifetime(entity: &FoundEntity<'_>, now: Timestamp) -> Result<(), LoginRefusal> {
    match entity.valid_until {
        Some(until) if until <= now => Err(refuse_metadata(
            "metadata that is still valid",
            format!("validUntil is over since {} s", now.since_ms(until) / 1000),
            "Download the identity provider's metadata again. If it comes from a URL, the identity provider publishes old \
             metadata; or the clock here is wrong.",
        )),
        _ => Ok(()),
    }
}

const ASK_AGAIN: &str = "Download the metadata again from the identity provider's application; if it is still so, tell \
     the identity provider's support.";

fn refuse_metadata(
    expected: impl std::fmt::Display,
    got: impl std::fmt::Display,
    remedy: &'static str,
) -> LoginRefusal {
    LoginRefusal::new(Class::SamlMetadata, expected, got, remedy)
}

fn refuse_size(bound: &str, got: &str) -> LoginRefusal {
    refuse_metadata(
        format!("metadata of one application: {bound}"),
        got,
        "Use the metadata of the one application, not that of a whole federation.",
    )
}

fn refuse_html() -> LoginRefusal {
    refuse_metadata(
        "metadata in XML",
        "an HTML page",
        "The metadata URL leads to a page, most often a login page. Copy the metadata URL from the identity provider's \
         application, open it in a private window, and see XML; or download the file and name it in our configuration.",
    )
}

fn refuse_xml(kind: XmlFaultKind, fault: &LoginRefusal) -> LoginRefusal {
    let remedy = match kind {
        XmlFaultKind::Forbidden => {
            "Metadata needs no DOCTYPE, no entities and no CDATA, and they are not read. Download it again from the \
             identity provider itself; take those parts out if it was edited by hand."
        }
        _ => {
            "Download the metadata again and leave the file as it came: it is not XML, or only a part of it."
        }
    };
    refuse_metadata(format!("metadata in XML: {}", fault.expected), &fault.got, remedy)
}

fn refuse_root(root: &XmlElement) -> LoginRefusal {
    refuse_metadata(
        "EntityDescriptor or EntitiesDescriptor of SAML 2.0 metadata",
        super::shape::describe_element(root),
        "This is XML and no metadata. Download \"Identity Provider metadata\" from the identity provider's application.",
    )
}

fn refuse_time(what: &str, got: &str) -> LoginRefusal {
    refuse_metadata(format!("{what} as SAML writes it"), got, ASK_AGAIN)
}
