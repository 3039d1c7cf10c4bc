//! `doctor saml`: looks into a login that is refused, offline.
//!
//! A response that was captured goes through the code that a login goes through. It creates nothing, stores nothing and
//! asks nobody: secrets of the configuration are not read, our keys are only if they are there, and metadata that has
//! an address is the document that was fetched last.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use portcullis_config::{Checked, Environment, IdpEntry, IdpProtocol, SamlEntry};
use portcullis_policy::{Timestamp, shown};
use portcullis_sso::{
    Examination, Fetch, FetchError, LoginRefusal, MetadataSource, ReceivedResponse, SamlCheck, SamlIdp,
    read_response,
};
use portcullis_store::KeptIdpKeys;

use super::super::check::look_at_idp_keys;
use super::capture::{read_bounded, read_field};
use super::diagnosis::Diagnosis;
use crate::saml::{self, SamlKeysError, SamlPlace};
use crate::terminal::{Exit, config_path, print_error, print_text};

/// A SAML response that was captured, and how to look at it.
#[derive(Args, Clone, Debug)]
pub(crate) struct SamlCapture {
    /// The response as a browser posted it: the form, the value of SAMLResponse, or its XML. - reads standard input.
    file: PathBuf,
    /// The identity provider of the configuration that it came from. Without it the one that it names itself.
    #[arg(long, value_name = "NAME")]
    idp: Option<String>,
    /// The ID of the request that it answers, as the login sent it. Without it, it is one that nobody asked for.
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    request_id: Option<String>,
    /// The time to look at it as of: RFC 3339, or seconds since 1970. Without it now, when every capture is old.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    at: Option<Timestamp>,
    /// The metadata of the identity provider, instead of what the configuration names.
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,
    /// One JSON object instead of a text.
    #[arg(long)]
    json: bool,
}

/// The year 9999, in seconds: later ones cannot be written.
const LAST_SECOND: i64 = 253_402_300_799;

fn parse_time(text: &str) -> Result<Timestamp, &'static str> {
    if let Ok(seconds) = text.parse::<i64>() {
        let is_time = (0..=LAST_SECOND).contains(&seconds);
        return if is_time { Ok(Timestamp(seconds * 1000)) } else { Err("no time since 1970 in seconds") };
    }
    let moment: Result<jiff::Timestamp, _> = text.parse();
    let moment = moment.map_err(|_| "a time is written as 2026-01-31T12:00:00Z, or in seconds since 1970")?;
    Ok(Timestamp(moment.as_millisecond()))
}

/// Reasons why a response was not looked at.
#[derive(Debug, thiserror::Error)]
enum NotExamined {
    #[error("{} cannot be read", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("no identity provider of the configuration speaks SAML")]
    NoSaml,
    #[error("\"{}\" is no identity provider of the configuration that speaks SAML. Known: {known}", shown(.name))]
    UnknownIdp { name: String, known: String },
    #[error("{why}. Name one with --idp: {known}")]
    Several { why: String, known: String },
    #[error(transparent)]
    Keys(#[from] SamlKeysError),
}

impl SamlCapture {
    /// Looks into it. `config` is what `-c` named.
    pub(super) fn answer(&self, config: Option<&Path>) -> Exit {
        let checked = config_path(config)
            .and_then(|path| portcullis_config::check_file(&path, &Environment::of_process().text_only()));
        match checked {
            Ok(checked) => self.examine(&checked).unwrap_or_else(|error| {
                print_error(&error);
                Exit::Usage
            }),
            Err(problems) => super::tell_unfit(&problems, self.json),
        }
    }

    fn examine(&self, checked: &Checked) -> Result<Exit, NotExamined> {
        let file_error = |path: &Path| {
            let path = path.to_owned();
            move |source| NotExamined::File { path, source }
        };
        let now = self.at.unwrap_or_else(Timestamp::now);
        let field = read_field(&read_bounded(&self.file).map_err(file_error(&self.file))?);
        let received = field.as_ref().ok().and_then(|field| read_response(field).ok());
        let (idp, entry) = self.choose_idp(checked, received.as_ref())?;
        let state = &checked.opens.state;
        let keys = saml::read_kept_keys(state, checked.public_url.host(), now)?;
        let place = SamlPlace {
            public_url: &checked.public_url,
            prefix: &checked.prefix,
            directory: checked.has_directory,
        };
        let mut settings = saml::read_settings(&place, idp, entry, keys);
        if let Some(path) = &self.metadata {
            let text =
                read_bounded(path).and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
            settings.metadata = MetadataSource::Document(text.map_err(file_error(path))?.into());
        }
        let kept = match &settings.metadata {
            MetadataSource::Document(_) => None,
            MetadataSource::Address(address) => saml::kept_metadata(state, &idp.name, address),
        };
        let lacks_metadata = kept.is_none() && matches!(settings.metadata, MetadataSource::Address(_));
        let book = Arc::new(crate::idp_keys::read_book(kept_idp_keys(checked)));
        let known = SamlIdp::new(settings, fetch_nothing(), kept.as_deref(), Arc::new(|_| {}), book, now);
        let examination = match field {
            Ok(field) => known.examine_response(self.request_id.as_deref(), &field, now),
            Err(refusal) => refuse_form(refusal),
        };
        let is_accepted = examination.outcome.is_ok();
        let diagnosis = Diagnosis {
            idp,
            entry,
            settings: known.settings(),
            urls: &checked.urls,
            request: self.request_id.as_deref(),
            now,
            is_capture_of_now: self.at.is_none(),
            received,
            lacks_metadata,
            lacks_keys: !saml::has_keys(state),
            examination,
        };
        if self.json {
            print_text(&format!("{}\n", diagnosis.to_json()));
        } else {
            known.warnings().iter().for_each(|warning| eprintln!("{}", portcullis_policy::escaped(warning)));
            print_text(&diagnosis.to_text());
        }
        Ok(if is_accepted { Exit::Fine } else { Exit::Failed })
    }

    /// Chooses the identity provider: the one that is named, the only one, or the one that the response names.
    fn choose_idp<'a>(
        &self,
        checked: &'a Checked,
        received: Option<&ReceivedResponse>,
    ) -> Result<(&'a IdpEntry, &'a SamlEntry), NotExamined> {
        let idps: Vec<_> = checked.idps.iter().filter_map(|idp| Some((idp, saml_entry(idp)?))).collect();
        let known = || idps.iter().map(|(idp, _)| idp.name.as_str()).collect::<Vec<_>>().join(", ");
        if let Some(name) = &self.idp {
            let named = idps.iter().find(|(idp, _)| idp.name == *name);
            let unknown = || NotExamined::UnknownIdp { name: name.clone(), known: known() };
            return named.copied().ok_or_else(unknown);
        }
        match idps.as_slice() {
            [] => return Err(NotExamined::NoSaml),
            [only] => return Ok(*only),
            _ => {}
        }
        let several = |why: &str| Err(NotExamined::Several { why: why.to_owned(), known: known() });
        let Some(issuer) = received.and_then(ReceivedResponse::unverified_issuer) else {
            return several(
                "several identity providers speak SAML, and the response does not say whose it is",
            );
        };
        let state = &checked.opens.state;
        let is_issuer = |idp: &IdpEntry| saml::known_issuer(state, idp).as_deref() == Some(issuer);
        let named: Vec<_> = idps.iter().filter(|(idp, _)| is_issuer(idp)).collect();
        match named.as_slice() {
            [only] => Ok(**only),
            [] => several(&format!("the issuer {} is none that is known here", shown(issuer))),
            _ => several(&format!("the issuer {} is that of several", shown(issuer))),
        }
    }
}

/// Reads what is kept of signing keys, where there is a database: without it a key that was distrusted would be taken.
fn kept_idp_keys(checked: &Checked) -> KeptIdpKeys {
    match look_at_idp_keys(checked) {
        Ok(kept) => kept,
        Err(error) => {
            eprintln!(
                "Which keys were approved or distrusted could not be read ({}): here every key of the metadata is taken.",
                portcullis_policy::escaped(&crate::log::error_chain(&*error).to_string())
            );
            KeptIdpKeys::default()
        }
    }
}

fn saml_entry(idp: &IdpEntry) -> Option<&SamlEntry> {
    match &idp.protocol {
        IdpProtocol::Saml(entry) => Some(entry),
        IdpProtocol::Oidc(_) => None,
    }
}

/// The findings in a form that does not carry one response.
fn refuse_form(refusal: LoginRefusal) -> Examination {
    let LoginRefusal { class, expected, got, remedy, .. } = refusal.clone();
    let check = SamlCheck { name: "form", fault: Some(class), expected, got, remedy };
    Examination { checks: vec![check], verified: None, sources: Default::default(), outcome: Err(refusal) }
}

fn fetch_nothing() -> Fetch {
    Arc::new(|request| {
        let host = request.uri().host().unwrap_or_default().to_owned();
        Box::pin(async { Err(FetchError::NotAllowed { host, why: "not asked by `doctor`" }) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_one_of_a_clock_or_a_count() {
        let noon = Ok(Timestamp(1_769_860_800_000));
        for text in ["1769860800", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00+01:00"] {
            assert_eq!(parse_time(text), noon, "{text}");
        }
        assert_eq!(parse_time("2026-01-31T12:00:00.5Z"), Ok(Timestamp(1_769_860_800_500)));
        for wrong in ["", "noon", "2026-01-31", "2026-01-31T12:00:00", "-1", "1769860800000000000"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
