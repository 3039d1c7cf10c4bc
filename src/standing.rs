//! What the sessions in the store were made under, against what is configured. A start and a reload ask here, by the
//! same function: before the first request is accepted, and before the reload is reported.

use std::collections::BTreeSet;

use portcullis_config::{File, IdpEntry, UserSource};
use portcullis_policy::{DirectoryId, OrgId, Scope, Timestamp};
use portcullis_store::{Mode, Origin, Standing, Store, StoreError};

use crate::core::Core;
use crate::revocation::{NotDone, NotGone};
use crate::saml;

/// Reasons why sessions that are not to be there any more may still be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandingError {
    /// A comparison with what they were made under that failed, or an end that was not stored.
    #[error(
        "what the sessions were made under could not be compared with the configuration: those of an identity provider \
         or a provisioning that is not configured any more may stand"
    )]
    Store(#[source] StoreError),
    /// It is stored, and something that was cut has not left.
    #[error("sessions that are not configured any more have ended, but not all of their exchanges")]
    NotGone(#[source] NotGone),
}

impl From<NotDone<StoreError>> for StandingError {
    fn from(error: NotDone<StoreError>) -> Self {
        match error {
            NotDone::Write(error) => Self::Store(error),
            NotDone::NotGone(error) => Self::NotGone(error),
            NotDone::Panicked(_) => Self::Store(StoreError::Panicked),
        }
    }
}

/// Ends every session whose identity provider, provisioning or directory is not configured any more, and brings into
/// memory the epochs that logins begin under.
///
/// # Errors
/// [`StandingError`]: a start must not serve, a reload is not done.
pub(crate) async fn end_unconfigured(
    file: &File,
    core: &Core,
    actor: &'static str,
) -> Result<(), StandingError> {
    let (store, standing) = (core.store.clone(), standing_of(file));
    let comparing = async move {
        store.set_standing(OrgId::ONLY, standing, &Origin::of_actor(actor), Timestamp::now()).await
    };
    for scope in core.carry_out(comparing).wait_done().await?.value {
        match scope {
            Scope::Idp(_, idp) => tracing::warn!(
                idp = &*idp,
                "the identity provider of this name and issuer is not configured any more: everybody it signed in is out"
            ),
            _ => tracing::warn!(
                provisioning = people_mode(file).config_word(),
                "people come from elsewhere than before: every session has ended, and everybody signs in again"
            ),
        }
    }
    tell_stranded(file, &core.store).await;
    Ok(())
}

/// Warns of people who are linked through an identity provider that is not configured. Nothing hangs on it: where it
/// cannot be read, nothing is said.
async fn tell_stranded(file: &File, store: &Store) {
    let issuers: Vec<String> = known_idps(file).into_iter().map(|(_, issuer)| issuer).collect();
    let issuers: Vec<&str> = issuers.iter().map(String::as_str).collect();
    for stranded in store.list_stranded(OrgId::ONLY, &issuers).await.unwrap_or_default() {
        tracing::warn!(idp = stranded.idp, issuer = stranded.issuer, "{}", stranded.sentence());
    }
}

fn standing_of(file: &File) -> Standing {
    let mode = people_mode(file);
    Standing {
        idps: known_idps(file),
        unknown: unknown_idps(file),
        mode,
        directories: if mode == Mode::None { BTreeSet::new() } else { BTreeSet::from([DirectoryId::ONLY]) },
    }
}

/// The configured identity providers, name and issuer. One of SAML whose metadata was never fetched has signed nobody in.
fn known_idps(file: &File) -> BTreeSet<(String, String)> {
    let known = |idp: &IdpEntry| Some((idp.name.clone(), saml::known_issuer(&file.state, idp)?));
    file.idps.iter().filter_map(known).collect()
}

/// The configured identity providers whose name for themselves is not known: their address is new, or was never read.
fn unknown_idps(file: &File) -> BTreeSet<String> {
    let is_unknown = |idp: &&IdpEntry| saml::known_issuer(&file.state, idp).is_none();
    file.idps.iter().filter(is_unknown).map(|idp| idp.name.clone()).collect()
}

fn people_mode(file: &File) -> Mode {
    match file.provisioning {
        UserSource::Scim(_) => Mode::Scim,
        UserSource::Invited => Mode::Invited,
        UserSource::None => Mode::None,
    }
}
