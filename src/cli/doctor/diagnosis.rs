//! The findings in a response, for people and for programs.
//!
//! Whatever the response says is made fit for a terminal; only JSON has it whole.

use std::collections::BTreeMap;

use portcullis_config::{IdpEntry, IdpInitiated, SamlEntry};
use portcullis_policy::{Timestamp, escaped};
use portcullis_sso::{
    Class, Examination, MetadataSource, ReceivedResponse, SamlAttribute, SamlCheck, SamlSettings,
    VerifiedResponse,
};
use serde_json::{Value, json};

use crate::person::format_rfc3339;
use crate::terminal::{fit_for_terminal, format_table};

/// The findings in a response, and what they were found with.
pub(super) struct Diagnosis<'a> {
    pub(super) idp: &'a IdpEntry,
    pub(super) entry: &'a SamlEntry,
    pub(super) settings: &'a SamlSettings,
    /// The addresses to paste, as `urls` prints them.
    pub(super) urls: &'a [(String, String)],
    pub(super) request: Option<&'a str>,
    pub(super) now: Timestamp,
    /// True where nobody said of which time the capture is.
    pub(super) is_capture_of_now: bool,
    /// The response, unverified; `None` where it is not built as one.
    pub(super) received: Option<ReceivedResponse>,
    /// True where the metadata has an address and was never fetched.
    pub(super) lacks_metadata: bool,
    /// True where we have no keys of our own yet.
    pub(super) lacks_keys: bool,
    pub(super) examination: Examination,
}

const WITHOUT_KEYS: &str = "We have no keys of our own in the state folder: nothing can have been encrypted to them. Run \
                            this where the program runs, or start it once and give the identity provider our metadata.";

/// The most attribute values of one name that are listed.
const MOST_VALUES: usize = 20;

impl Diagnosis<'_> {
    /// Writes the findings as one object.
    pub(super) fn to_json(&self) -> Value {
        let Examination { checks, verified, outcome, .. } = &self.examination;
        let verified = verified.as_ref();
        let attributes = verified.map(|verified| {
            let of = |attribute: &SamlAttribute| (attribute.name.clone(), attribute.values.clone());
            verified.attributes.iter().map(of).collect::<BTreeMap<_, _>>()
        });
        let filled = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let check = |check: &SamlCheck| {
            json!({
                "name": check.name,
                "passed": check.is_passed(),
                "expected": filled(&check.expected),
                "got": filled(&check.got),
                "remedy": filled(&self.advise_on(check).join(" ")),
            })
        };
        json!({
            "accepted": outcome.is_ok(),
            "class": outcome.as_ref().err().map(|refusal| refusal.class.bare_word()),
            "name_id": verified.map(|verified| &verified.name_id.value),
            "name_id_format": verified.and_then(|verified| verified.name_id.format.as_ref()),
            "attributes": attributes,
            "session_index": verified.and_then(|verified| verified.session_index.as_ref()),
            "checks": checks.iter().map(check).collect::<Vec<_>>(),
        })
    }

    /// Writes the findings as a text: the checks in their order, then the verdict, then the person.
    pub(super) fn to_text(&self) -> String {
        let asked = self.request.map_or_else(
            || "that nobody asked for".to_owned(),
            |id| format!("to the request {}", fit_for_terminal(id)),
        );
        let (name, at) = (&self.idp.name, format_rfc3339(self.now));
        let mut text = format!("A response of {name} {asked}, as of {at}:\n\n");
        for check in &self.examination.checks {
            text.push_str(&self.check_lines(check));
        }
        text.push('\n');
        text.push_str(&self.write_verdict());
        if let Some(verified) = &self.examination.verified {
            text.push_str("\nThe person:\n");
            text.push_str(&indent_lines(&format_table(&self.person_rows(verified))));
            text.push_str("\nThe attributes:\n");
            text.push_str(&indent_lines(&format_table(&attribute_rows(&verified.attributes))));
        }
        text
    }

    fn check_lines(&self, check: &SamlCheck) -> String {
        if check.is_passed() {
            return format!("ok    {:<24}{}\n", check.name, escaped(&check.got));
        }
        let line = |word: &str, text: &str| format!("        {word:<10}{}\n", escaped(text));
        let mut lines = format!("FAIL  {}\n", check.name);
        lines += &line("expected", &check.expected);
        lines += &line("got", &check.got);
        for (nth, advice) in self.advise_on(check).iter().enumerate() {
            lines += &line(if nth == 0 { "to do" } else { "" }, advice);
        }
        lines
    }

    fn write_verdict(&self) -> String {
        let refusal = match &self.examination.outcome {
            Ok(_) => return format!("Accepted. {}\n", self.list_unexamined()),
            Err(refusal) => refusal,
        };
        let faults = self.examination.checks.iter().filter(|check| !check.is_passed()).count();
        let more = match faults {
            0 | 1 => String::new(),
            faults => format!(" {faults} checks fail; the first of them is the reason."),
        };
        let restarts = self.request.is_none() && self.entry.block.idp_initiated == IdpInitiated::Restart;
        let unasked = match refusal.class {
            Class::SamlInResponseTo if restarts => {
                " The program throws it away and begins a login of its own: saml.idp_initiated is restart."
            }
            _ => "",
        };
        let (class, word) = (refusal.class.bare_word(), refusal.class.log_word());
        format!("Refused: {class} ({word} in the log).{more}{unasked}\n")
    }

    /// Says what else a login has to pass.
    fn list_unexamined(&self) -> String {
        // Elsewhere what nobody asked for is refused by a check.
        let unasked = match self.request {
            Some(_) => "",
            None => {
                " As nobody asked for it, a page would ask first where another person is signed in: saml.idp_initiated is \
                 accept."
            }
        };
        format!(
            "Nothing was stored. Not looked at: whether it came before, the directory, `domains` and roles.{unasked}"
        )
    }

    /// Says what to do about a check that has failed, with the value to paste; nothing where it passed.
    fn advise_on(&self, check: &SamlCheck) -> Vec<String> {
        let Some(class) = check.fault else { return Vec::new() };
        if class == Class::SamlMetadata && self.lacks_metadata {
            return vec![self.advise_metadata()];
        }
        let remedy = check.remedy.to_owned();
        match class {
            Class::SamlRecipient | Class::SamlDestination => {
                vec![remedy, self.write_address(&self.settings.acs_url)]
            }
            Class::SamlAudience => vec![remedy, self.write_address(&self.settings.sp_entity_id)],
            Class::SamlInResponseTo => vec![self.advise_request().unwrap_or(remedy)],
            Class::SamlExpired if self.is_capture_of_now => vec![self.advise_time(), remedy],
            Class::SamlSignatureInvalid => vec![remedy, self.advise_keys()],
            Class::SamlSignaturePolicy if is_sha1(&check.got) => vec![remedy, self.advise_sha1()],
            Class::SamlDecrypt if self.lacks_keys => vec![WITHOUT_KEYS.to_owned(), remedy],
            _ => vec![remedy],
        }
    }

    /// Writes an address under the word that the identity provider has for it.
    fn write_address(&self, value: &str) -> String {
        let own = format!("{}: ", self.idp.name);
        let mut words = self.urls.iter().filter(|(_, url)| url == value).map(|(word, _)| word.as_str());
        let first = words.clone().next();
        let word = words.find_map(|word| word.strip_prefix(&*own)).or(first).unwrap_or("value");
        format!("{word}: {value}")
    }

    fn advise_metadata(&self) -> String {
        let MetadataSource::Address(address) = &self.settings.metadata else { return String::new() };
        format!(
            "The metadata is at {address} and was never fetched here: start the program once, or download it and give it \
             with --metadata FILE."
        )
    }

    fn advise_request(&self) -> Option<String> {
        let said = self.received.as_ref()?.unverified_in_response_to()?;
        // It goes into a shell: only what is a name there too.
        let is_name =
            said.len() <= 100 && said.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        let id = if is_name { said } else { "ID" };
        self.request.is_none().then(|| {
            format!(
                "Without --request-id it is looked at as a response that nobody asked for, and such a one answers no \
                 request. To look at it as the answer to the login that asked: --request-id {id}"
            )
        })
    }

    fn advise_time(&self) -> String {
        let issued = self.received.as_ref().and_then(ReceivedResponse::unverified_issue_instant);
        let issued = issued.map_or_else(|| "TIME".to_owned(), format_rfc3339);
        format!("A capture is old. To look at it as of when it came: --at {issued}")
    }

    fn advise_sha1(&self) -> String {
        format!(
            "Only until it does: allow_sha1: true below idps.{}.saml takes SHA-1, which is broken.",
            self.idp.name
        )
    }

    fn advise_keys(&self) -> String {
        let from = match &self.settings.metadata {
            MetadataSource::Document(_) => "a document that nobody fetches: put the new one there".to_owned(),
            MetadataSource::Address(address) => format!(
                "fetched from {address} again and again, and at once where a login meets an unknown key: see that it \
                 answers with the new certificate"
            ),
        };
        format!("idps.{}.saml.metadata is {from}.", self.idp.name)
    }

    fn person_rows(&self, verified: &VerifiedResponse) -> Vec<[String; 2]> {
        let name_id = &verified.name_id;
        let row = |word: &str, value: &str| [word.to_owned(), fit_for_terminal(value)];
        let mut rows = vec![
            row("NameID", &name_id.value),
            row("NameID format", name_id.format.as_deref().unwrap_or("none")),
        ];
        let qualifiers =
            [("NameQualifier", &name_id.name_qualifier), ("SPNameQualifier", &name_id.sp_name_qualifier)];
        rows.extend(qualifiers.iter().filter_map(|(word, value)| Some(row(word, value.as_deref()?))));
        rows.push(row("session index", verified.session_index.as_deref().unwrap_or("none")));
        rows.extend(verified.session_end.map(|end| row("session end", &format_rfc3339(end))));
        let sources = &self.examination.sources;
        let entry = self.entry;
        for (word, key, source, names) in [
            ("e-mail", "email", &sources.email, &entry.email),
            ("name", "name", &sources.name, &entry.name),
            ("user name", "user_name", &sources.user_name, &entry.user_name),
            ("groups", "groups", &sources.groups, &entry.groups),
        ] {
            let key = format!("idps.{}.saml.attributes.{key}", self.idp.name);
            rows.push([word.to_owned(), describe_source(verified, source.as_deref(), names, &key)]);
        }
        if let Ok(person) = &self.examination.outcome {
            rows.push(["directory".to_owned(), self.describe_link(person.link())]);
        }
        rows
    }

    fn describe_link(&self, link: Option<&portcullis_sso::LinkValue>) -> String {
        let Some(claim) = &self.settings.link else {
            return "none: whoever the identity provider lets in comes in, within `domains`".to_owned();
        };
        let (claim, name) = (fit_for_terminal(claim), &self.idp.name);
        let Some(link) = link else {
            return format!(
                "a first login would find nobody: {claim} (idps.{name}.link.claim) did not come, or not as one value"
            );
        };
        let unverified = if link.is_unverified_address && !self.entry.block.trust_email {
            "; an e-mail address, which SAML never calls verified: without saml.trust_email such a login is refused \
             (unverified_email)"
        } else {
            ""
        };
        let (to, value) = (self.idp.link.to.config_word(), fit_for_terminal(&link.value));
        format!("a first login would look for {to} = {value} (from {claim}){unverified}")
    }
}

/// Tells whether a signature was refused for nothing but its hash.
fn is_sha1(got: &str) -> bool {
    matches!(got, "SignatureMethod: rsa-sha1" | "DigestMethod: sha1")
}

/// Writes what an attribute says and its name; or the names that were looked for, and where they are set.
fn describe_source(verified: &VerifiedResponse, source: Option<&str>, names: &[String], key: &str) -> String {
    let Some(source) = source else {
        let names = fit_for_terminal(&names.join(", "));
        return format!("none; looked for {names} ({key})");
    };
    let stated = verified.attributes.iter().find(|attribute| attribute.name == source);
    let Some(stated) = stated else {
        return format!("{} (from {})", fit_for_terminal(&verified.name_id.value), fit_for_terminal(source));
    };
    let values: Vec<_> = stated.values.iter().filter(|value| !value.is_empty()).map(String::as_str).collect();
    let shown = if key.ends_with(".groups") {
        format!("{}: {}", values.len(), values.join(", "))
    } else {
        values.first().copied().unwrap_or_default().to_owned()
    };
    format!("{} (from {})", fit_for_terminal(&shown), fit_for_terminal(source))
}

fn attribute_rows(attributes: &[SamlAttribute]) -> Vec<[String; 2]> {
    let mut rows = Vec::new();
    for SamlAttribute { name, values, .. } in attributes {
        for (nth, value) in values.iter().take(MOST_VALUES).enumerate() {
            let name = if nth == 0 { fit_for_terminal(name) } else { String::new() };
            rows.push([name, fit_for_terminal(value)]);
        }
        if values.len() > MOST_VALUES {
            rows.push([String::new(), format!("and {} more", values.len() - MOST_VALUES)]);
        }
    }
    if rows.is_empty() {
        rows.push(["none".to_owned(), String::new()]);
    }
    rows
}

fn indent_lines(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_listed_in_part_and_nothing_of_them_is_acted_on() {
        let attribute = |name: &str, values: Vec<String>| SamlAttribute {
            name: name.to_owned(),
            friendly_name: None,
            values,
        };
        let groups = (0..25).map(|nth| format!("g{nth}")).collect();
        let attributes = [
            attribute("na\u{202e}me", vec!["\u{200b}a".to_owned(), "x".repeat(300)]),
            attribute("groups", groups),
        ];
        let rows = attribute_rows(&attributes);
        assert_eq!(rows[0], ["na\\u{202e}me", "\\u{200b}a"]);
        assert_eq!((&*rows[1][0], rows[1][1].chars().count()), ("", 200));
        assert_eq!((rows.len(), &rows[22]), (23, &[String::new(), "and 5 more".to_owned()]));
        assert_eq!(attribute_rows(&[]), [["none", ""]]);
    }
}
