//! `headers` against the rest of the file: which attributes there are, and that no two headers are one to an application.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portcullis_policy::{
    ENTERPRISE_USER, HeaderPreset, HeaderRule, HeaderSource, HeaderText, IdentityHeaders, TemplatePart,
    ToldGroups, USER_ATTRIBUTES, UserFrom,
};

use super::findings::Findings;
use crate::at::{At, show_value};
use crate::document::{ProvisioningWord, RootBlock};
use crate::extensions::{DeclaredAttribute, ValueType};
use crate::headers::{PartText, TemplateText, WritableName};
use crate::nearest;

/// Joins the identity headers, where they say what can be said.
pub(super) fn join_headers(findings: &mut Findings<'_, '_>, document: &RootBlock) -> Option<IdentityHeaders> {
    let headers = &document.headers;
    let before = findings.report.problems.len();
    let without_directory = document.provisioning == ProvisioningWord::None;
    let user = if without_directory { UserFrom::Email } else { UserFrom::UserName };
    let mut rules = preset_rules(document);
    let known = KnownAttributes::of_document(document);
    for template in &headers.templates.0 {
        let at = At::from("headers").below_key("templates").below_key(&template.key);
        let Some(says) = known.resolve_template(&template.text, &at, findings) else { continue };
        rules.push(HeaderRule {
            name: template.name.0.clone(),
            says,
            encoding: template.encoding.unwrap_or(headers.encoding),
            separator: headers.preset.separator(),
            default: template.default.clone(),
        });
    }
    check_names(findings, document, &rules);
    let groups = match &headers.groups.only {
        Some(only) if only.is_empty() => {
            let remedy = "Name groups, or write names: { groups: off }";
            findings.add_problem("headers.groups.only", "an empty list tells of no group", remedy);
            ToldGroups::default()
        }
        Some(only) => ToldGroups::only(only),
        None => ToldGroups::default(),
    };
    if findings.report.problems.len() > before {
        return None;
    }
    if !rules.iter().any(HeaderRule::names_person) && !says_name(&rules) {
        let what = "no header says who is there";
        let remedy = "Give the user header a name: names: { user: X-Remote-User }";
        findings.add_warning("headers", what, remedy);
    }
    let (user, budget) = (headers.user.unwrap_or(user), headers.budget.0.bytes());
    Some(IdentityHeaders { user, rules: rules.into(), groups, budget })
}

/// Tells whether a template speaks of the person at all.
fn says_name(rules: &[HeaderRule]) -> bool {
    rules.iter().any(|rule| match &rule.says {
        HeaderText::Template(parts) => parts.iter().any(|part| matches!(part, TemplatePart::Source(_))),
        HeaderText::Source(source) => !source.is_list(),
        HeaderText::Fixed(_) => false,
    })
}

/// The headers of the preset, under the names that they are given.
fn preset_rules(document: &RootBlock) -> Vec<HeaderRule> {
    let headers = &document.headers;
    let (encoding, separator) = (headers.encoding, headers.preset.separator());
    let mut rules = Vec::new();
    for header in headers.preset.headers() {
        if !headers.names.0.iter().any(|renamed| renamed.source == header.source) {
            let name = HeaderName::from_static(header.name);
            rules.push(HeaderRule::of_source(name, header.source.clone(), encoding, separator));
        }
    }
    for renamed in &headers.names.0 {
        if let Some(WritableName(name)) = &renamed.name {
            let encoding = renamed.encoding.unwrap_or(encoding);
            rules.push(HeaderRule::of_source(name.clone(), renamed.source.clone(), encoding, separator));
        }
    }
    rules
}

/// Refuses two headers that are one to an application: servers behind us take `X_User` and `X-User` for the same.
fn check_names(findings: &mut Findings<'_, '_>, document: &RootBlock, rules: &[HeaderRule]) {
    let mut seen: HashMap<String, &HeaderName> = HashMap::new();
    for rule in rules {
        let Some(first) = seen.insert(WritableName::folded(&rule.name), &rule.name) else { continue };
        let what = match *first == rule.name {
            true => format!("{first} is there twice"),
            false => format!("{first} and {} are one header to an application", rule.name),
        };
        let headers = &document.headers;
        let template = headers.templates.0.iter().rfind(|template| template.name.0 == rule.name);
        let renamed = headers
            .names
            .0
            .iter()
            .find(|renamed| renamed.name.as_ref().is_some_and(|WritableName(name)| *name == rule.name));
        let path = match (template, renamed) {
            (Some(template), _) => At::from("headers.templates").below_key(&template.key).to_string(),
            (None, Some(renamed)) => format!("headers.names.{}", renamed.key),
            (None, None) => "headers.preset".to_owned(),
        };
        findings.add_problem(&path, what, "Name one of them differently, or leave it out");
    }
}

/// What `${…}` may name.
struct KnownAttributes {
    has_directory: bool,
    /// The names by which an attribute may be meant, and its canonical one.
    names: Vec<(String, String)>,
}

impl KnownAttributes {
    fn of_document(document: &RootBlock) -> Self {
        let mut names = Vec::new();
        let [core, enterprise] = USER_ATTRIBUTES;
        names.extend(core.iter().map(|name| ((*name).to_owned(), (*name).to_owned())));
        let mut add = |urn: &str, name: &str| {
            let whole = format!("{urn}:{name}");
            names.push((name.to_owned(), whole.clone()));
            names.push((whole.clone(), whole));
        };
        enterprise.iter().for_each(|name| add(ENTERPRISE_USER, name));
        let declared = document.scim.iter().flat_map(|scim| &scim.extensions.0);
        for extension in declared {
            for attribute in &extension.attributes {
                told_names(attribute).iter().for_each(|name| add(&extension.urn, name));
            }
        }
        Self { has_directory: document.provisioning != ProvisioningWord::None, names }
    }

    fn resolve_template(
        &self,
        TemplateText(parts): &TemplateText,
        at: &At,
        findings: &mut Findings<'_, '_>,
    ) -> Option<HeaderText> {
        if let [PartText::Person(name)] = &parts[..] {
            return Some(HeaderText::Source(self.resolve_name(name, at, findings)?));
        }
        if parts.iter().any(|part| matches!(part, PartText::Secret(_))) {
            return join_secret(parts, at, findings);
        }
        let mut resolved = Vec::with_capacity(parts.len());
        for part in parts {
            resolved.push(match part {
                PartText::Literal(text) => TemplatePart::Literal(text.clone()),
                PartText::Person(name) => TemplatePart::Source(self.resolve_name(name, at, findings)?),
                PartText::Secret(_) => return None, // looked for above
            });
        }
        Some(HeaderText::Template(resolved))
    }

    fn resolve_name(&self, name: &str, at: &At, findings: &mut Findings<'_, '_>) -> Option<HeaderSource> {
        const OWN: [(&str, HeaderSource); 7] = [
            ("name", HeaderSource::Name),
            ("email", HeaderSource::Email),
            ("groups", HeaderSource::Groups),
            ("roles", HeaderSource::Roles),
            ("subject", HeaderSource::Subject),
            ("display_name", HeaderSource::DisplayName),
            ("preferred_username", HeaderSource::PreferredUsername),
        ];
        let at = at.to_string();
        let mut refuse = |what: String, remedy: String| {
            findings.add_problem(&at, what, remedy);
            None
        };
        if let Some((_, source)) = OWN.into_iter().find(|(known, _)| *known == name) {
            return Some(source);
        }
        let shown = show_value(name);
        let Some(asked) = name.strip_prefix("user.") else {
            let known = OWN.into_iter().map(|(known, _)| known);
            let remedy = match self.names.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
                Some((known, _)) => format!("An attribute of the directory is written ${{user.{known}}}"),
                None => nearest::suggest_word(name, known),
            };
            return refuse(format!("\"{shown}\" is nothing that is known of a person"), remedy);
        };
        if !self.has_directory {
            let what = format!("\"{shown}\" is an attribute of a directory, and provisioning: none has none");
            return refuse(
                what,
                "Write email, subject, groups, display_name or preferred_username".to_owned(),
            );
        }
        let own = match asked {
            "id" => Some(HeaderSource::Id),
            "userName" => Some(HeaderSource::UserName),
            "externalId" => Some(HeaderSource::ExternalId),
            _ => None,
        };
        if own.is_some() {
            return own;
        }
        let mut found: Vec<&str> = self
            .names
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(asked))
            .map(|(_, whole)| whole.as_str())
            .collect();
        found.dedup();
        match found[..] {
            [whole] => Some(HeaderSource::Attribute(Arc::from(whole))),
            [] => {
                let remedy = match asked {
                    "groups" => "Write ${groups}".to_owned(),
                    "email" => "Write ${email}, or ${user.emails} for all of them".to_owned(),
                    _ => nearest::suggest_word(asked, self.names.iter().map(|(known, _)| known.as_str())),
                };
                refuse(format!("there is no attribute \"{}\" of people", show_value(asked)), remedy)
            }
            [one, other, ..] => refuse(
                format!("\"{shown}\" is an attribute of two schemas"),
                format!("Write ${{user.{one}}} or ${{user.{other}}}"),
            ),
        }
    }
}

/// The names by which a declared attribute is told: itself, or its parts.
fn told_names(attribute: &DeclaredAttribute) -> Vec<String> {
    match (attribute.kind, attribute.multi_valued) {
        (ValueType::Complex, false) => {
            attribute.parts.iter().map(|part| format!("{}.{}", attribute.name, part.name)).collect()
        }
        (ValueType::Complex, true) => {
            let has_value = attribute.parts.iter().any(|part| part.name.eq_ignore_ascii_case("value"));
            has_value.then(|| attribute.name.clone()).into_iter().collect()
        }
        _ => vec![attribute.name.clone()],
    }
}

/// A credential for the application: the same for everybody, and hidden wherever it is shown.
fn join_secret(parts: &[PartText], at: &At, findings: &mut Findings<'_, '_>) -> Option<HeaderText> {
    let mut text = zeroize::Zeroizing::new(String::new());
    for part in parts {
        match part {
            PartText::Literal(literal) => text.push_str(literal),
            // Left alone by a look that reads no secrets: it stands for itself.
            PartText::Secret(secret) if secret.expose().is_empty() => text.push_str("unread"),
            PartText::Secret(secret) => text.push_str(secret.expose()),
            PartText::Person(_) => return None, // refused where it was read
        }
    }
    let is_visible = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let value = HeaderValue::from_str(&text).ok().filter(|_| is_visible && text.trim() == text.as_str());
    let Some(mut value) = value else {
        let what = "the secret has a character that a header cannot carry, or a blank at an end";
        findings.add_problem(&at.to_string(), what, "Write it in base64, as Basic wants it");
        return None;
    };
    value.set_sensitive(true);
    Some(HeaderText::Fixed(value))
}

/// The names that a preset and its changes do not have any more are stripped all the same; these are those beside them.
pub(super) fn stripped_names(identity: &IdentityHeaders, document: &RootBlock) -> Vec<String> {
    let own = identity.names().map(|name| name.as_str().to_owned());
    let is_known = |name: &String| {
        HeaderPreset::ALL.iter().any(|preset| preset.headers().iter().any(|header| header.name == *name))
    };
    let named = document.headers.strip.iter().map(|name| name.0.clone());
    own.filter(|name| !is_known(name)).chain(named).collect()
}
