//! `headers` against the rest of the file: which attributes there are, and that no two headers are one to an application.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use portcullis_policy::{
    HeaderPreset, HeaderRule, HeaderSource, HeaderText, IdentityHeaders, SignedHeader, TemplatePart,
    ToldGroups, UserFrom,
};

use super::attributes::{IDS, KnownAttribute, KnownAttributes};
use super::findings::Findings;
use super::listeners::all_upstreams;
use crate::at::{At, show_value};
use crate::document::{ProvisioningWord, RootBlock};
use crate::headers::{AssertionBlock, HeaderTemplate, PartText, TemplateText, WritableName};
use crate::nearest;
use crate::secret::SecretText;
use crate::upstream::SecretHeader;

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
        let Some(says) = known.resolve_template(template, &at, findings) else { continue };
        let says = name_in(says, headers.user.unwrap_or(user));
        rules.push(HeaderRule {
            name: template.name.0.clone(),
            says,
            encoding: template.encoding.unwrap_or_else(|| headers.encoding()),
            separator: headers.preset.separator(),
            default: template.default.clone(),
        });
        if template.default.is_some() && rules.last().is_some_and(HeaderRule::names_person) {
            let what = "whose name cannot be written would be known by the default";
            let remedy = "Leave it out: who has no such name is not let in";
            findings.add_problem(&at.below_key("default").to_string(), what, remedy);
        }
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
    if !rules.iter().any(HeaderRule::names_person) {
        let what = "no header says who is there by headers.user";
        let remedy = "Give the user header a name: names: { user: X-Remote-User }";
        findings.add_warning("headers", what, remedy);
    }
    let (user, budget) = (headers.user.unwrap_or(user), headers.budget.0.bytes());
    let signed = join_assertion(document);
    let identity =
        IdentityHeaders { preset: headers.preset, user, rules: rules.into(), groups, budget, signed };
    let least = identity.least_size();
    if least > budget {
        let what =
            format!("the texts of headers.templates alone have {least} bytes, so nobody would be let in");
        findings.add_problem(
            "headers.budget",
            what,
            "Make it larger, if the application takes as much, or the texts shorter",
        );
        return None;
    }
    Some(identity)
}

/// The signed header, where it is on and there is an address by which its keys are found.
fn join_assertion(document: &RootBlock) -> Option<SignedHeader> {
    let AssertionBlock::On { audience } = &document.headers.assertion else { return None };
    let public_url = document.public_url.0.as_ref()?;
    let issuer = format!("{}{}", public_url.origin(), public_url.path());
    Some(SignedHeader {
        audience: audience.as_ref().unwrap_or(&issuer).as_str().into(),
        issuer: issuer.into(),
        organization: "default".into(),
    })
}

/// Fields in which a client names another method than that of its request, for applications that go by them.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method", "x-http-method-override", "x-method-override"];

/// What `headers.user` says is the name, under whatever word a template asks for it.
fn name_in(says: HeaderText, user: UserFrom) -> HeaderText {
    let named = match user {
        UserFrom::UserName => HeaderSource::UserName,
        UserFrom::PreferredUsername => HeaderSource::PreferredUsername,
        UserFrom::Id => HeaderSource::Id,
        UserFrom::ExternalId => HeaderSource::ExternalId,
        UserFrom::Subject => HeaderSource::Subject,
        UserFrom::Email => HeaderSource::Email,
    };
    let renamed = |source: HeaderSource| if source == named { HeaderSource::Name } else { source };
    match says {
        HeaderText::Source(source) => HeaderText::Source(renamed(source)),
        HeaderText::Template(parts) => {
            let parts = parts.into_iter().map(|part| match part {
                TemplatePart::Source(source) => TemplatePart::Source(renamed(source)),
                literal @ TemplatePart::Literal(_) => literal,
            });
            HeaderText::Template(parts.collect())
        }
        fixed @ HeaderText::Fixed(_) => fixed,
    }
}

/// The headers of the preset, under the names that they are given.
fn preset_rules(document: &RootBlock) -> Vec<HeaderRule> {
    let headers = &document.headers;
    let (encoding, separator) = (headers.encoding(), headers.preset.separator());
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
    for (path, upstream) in all_upstreams(document) {
        if let Some(SecretHeader { name: WritableName(name), value }) = &upstream.secret_header {
            check_secret(findings, &format!("{path}.secret_header.value"), value);
            seen.insert(WritableName::folded(name), name);
        }
    }
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

/// Refuses a secret that a header cannot carry. One that was not read is none.
fn check_secret(findings: &mut Findings<'_, '_>, path: &str, secret: &SecretText) {
    let text = secret.expose();
    let is_visible = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if !is_visible {
        let what = "the secret has a blank or a character that a header cannot carry";
        findings.add_problem(path, what, "Write it in letters and digits");
    } else if !text.is_empty() && text.len() < 16 {
        let what = "the secret is shorter than 16 characters, and can be guessed";
        findings.add_warning(path, what, "Make one: openssl rand -hex 32");
    }
}

impl KnownAttributes {
    fn resolve_template(
        &self,
        HeaderTemplate { name: header, text: TemplateText(parts), .. }: &HeaderTemplate,
        at: &At,
        findings: &mut Findings<'_, '_>,
    ) -> Option<HeaderText> {
        if let [PartText::Person(name)] = &parts[..] {
            return Some(HeaderText::Source(self.resolve_name(name, at, findings)?));
        }
        if parts.iter().any(|part| matches!(part, PartText::Secret(_))) {
            return join_secret(parts, at, findings);
        }
        if header.0 == AUTHORIZATION && parts.iter().all(|part| matches!(part, PartText::Literal(_))) {
            let what = "a credential stands in the configuration itself";
            findings.add_warning(
                &at.to_string(),
                what,
                "Keep it in a file of its own: ${file:/run/secrets/app-basic}",
            );
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
            let remedy = match self.all_names().find(|known| known.eq_ignore_ascii_case(name)) {
                Some(known) => format!("An attribute of the directory is written ${{user.{known}}}"),
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
        if let Some((_, own)) = IDS.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(asked)) {
            return Some(own);
        }
        match (self.find_attribute(asked), asked) {
            (Ok(KnownAttribute { whole, is_list, .. }), _) => {
                Some(HeaderSource::Attribute { name: Arc::from(whole.as_str()), is_list: *is_list })
            }
            (Err(_), "groups") => refuse(
                format!("there is no attribute \"{}\" of people", show_value(asked)),
                "Write ${groups}".to_owned(),
            ),
            (Err((what, _)), "email") => {
                refuse(what, "Write ${email}, or ${user.emails} for all of them".to_owned())
            }
            (Err((what, _)), _) if what.ends_with("of people") => {
                refuse(what, nearest::suggest_word(asked, self.all_names()))
            }
            (Err(_), _) => {
                let ways: Vec<String> =
                    self.whole_names(asked).map(|whole| format!("${{user.{whole}}}")).collect();
                refuse(
                    format!("\"{shown}\" is an attribute of two schemas"),
                    format!("Write {}", ways.join(" or ")),
                )
            }
        }
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
    let upstreams = all_upstreams(document).into_iter();
    let secrets = upstreams.filter_map(|(_, upstream)| upstream.secret_header.as_ref());
    let secrets = secrets.map(|secret| secret.name.0.as_str().to_owned());
    // Said to whoever has a part of the path taken off; by nobody else then.
    let strips = all_upstreams(document).iter().any(|(_, upstream)| upstream.strip_prefix.is_some());
    let prefix = strips.then(|| "x-forwarded-prefix".to_owned());
    // Another method than the one that was decided by.
    let routes = document.routes.as_deref().unwrap_or_default();
    let by_method = routes.iter().any(|route| route.0.as_ref().is_some_and(|route| route.methods.is_some()));
    let overrides = METHOD_OVERRIDES.iter().filter(|_| by_method).map(|name| (*name).to_owned());
    own.filter(|name| !is_known(name)).chain(named).chain(secrets).chain(prefix).chain(overrides).collect()
}
