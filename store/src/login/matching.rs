//! Matching a subject nobody knows yet to exactly one user, by exactly one attribute. Once linked it is never asked
//! again.

use portcullis_policy::{AccountId, Attributes, DirectoryId, LinkTo, OrgId, fold};
use portcullis_scim::{Resource, ResourceKind};

use super::hint::likeness_hint;
use super::refusal::AdmissionRefusal;
use super::{LinkAttribute, LoginAttributes, LoginVerdict, VerifiedLogin, refuse_login};
use crate::StoreError;
use crate::account::{self, AccountRow};
use crate::engine::Tx;
use crate::named::{folded_address, with_attribute};
use crate::resource::{self, DirectoryKey};

/// As many users are looked at for a hint.
const HINTED_FROM: i64 = 40;

/// The one user of these directories that has the claim's value.
pub(super) async fn find_match(
    tx: &mut Tx,
    asked: &VerifiedLogin,
    directories: &[DirectoryId],
    link: &LinkAttribute,
) -> LoginVerdict<AccountRow> {
    let to = link.to.config_word();
    let Some(value) = link.value.as_deref().filter(|value| !value.is_empty()) else {
        return refuse_login(AdmissionRefusal::MissingClaim { claim: link.claim.clone(), to });
    };
    if link.is_unverified_address {
        return refuse_login(AdmissionRefusal::UnverifiedEmail { claim: link.claim.clone() });
    }
    let idp = || asked.idp.to_string();
    let (here, elsewhere): (Vec<_>, Vec<_>) = matching_accounts(tx, asked.org, link.to, value)
        .await?
        .into_iter()
        .partition(|(directory, _)| directories.contains(directory));
    match (here.as_slice(), elsewhere.first()) {
        ([(_, account)], _) => {
            // Any IdP can give a name, so the name's domain must be one of this IdP's. An id need not have one.
            let has_domain = link.to != LinkTo::ExternalId || value.contains('@');
            if has_domain && !asked.domains.include(value) {
                return refuse_login(AdmissionRefusal::Domain {
                    attribute: to,
                    domain: fold::email_domain(value),
                    idp: idp(),
                });
            }
            Ok(Ok(account::known_account(tx, asked.org, *account).await?))
        }
        ([], Some((directory, _))) => {
            refuse_login(AdmissionRefusal::OtherDirectory { directory: *directory, idp: idp() })
        }
        ([], None) => no_match(tx, asked.org, directories, link.to, value).await,
        (several, _) => {
            refuse_login(AdmissionRefusal::TwoMatches { to, value: value.to_owned(), count: several.len() })
        }
    }
}

/// Every live user of the organization with that value. One who has an address twice counts once.
async fn matching_accounts(
    tx: &mut Tx,
    org: OrgId,
    to: LinkTo,
    value: &str,
) -> Result<Vec<(DirectoryId, AccountId)>, StoreError> {
    let (path, key) = match to {
        LinkTo::ExternalId => ("externalId", value.to_owned()),
        LinkTo::UserName => ("userName", fold::same_key(value)),
        LinkTo::Email => ("emails.value", fold::same_key(value)),
    };
    with_attribute(tx, org, path, &key).await
}

/// Gives the reason why nobody matches: the person was removed, nobody is there yet, or the values are of another
/// kind.
async fn no_match(
    tx: &mut Tx,
    org: OrgId,
    directories: &[DirectoryId],
    to: LinkTo,
    value: &str,
) -> LoginVerdict<AccountRow> {
    if is_tombstone(tx, org, to, value).await? {
        return refuse_login(AdmissionRefusal::Removed);
    }
    let mut users = Vec::new();
    for directory in directories {
        users.extend(newest_users(tx, DirectoryKey { org, directory: *directory }).await?);
    }
    let (to_word, value_text) = (to.config_word(), value.to_owned());
    if users.is_empty() {
        return refuse_login(AdmissionRefusal::DirectoryEmpty { to: to_word, value: value_text });
    }
    let hint = likeness_hint(&users, to, value);
    refuse_login(AdmissionRefusal::NoMatch { to: to_word, value: value_text, hint })
}

async fn newest_users(tx: &mut Tx, place: DirectoryKey) -> Result<Vec<Resource>, StoreError> {
    let sql = "select id, doc from resource where organization = $1 and directory = $2 and kind = 'User' \
               and deleted is null order by rid desc limit $3";
    let rows = tx.rows(sql, &[place.org.into(), place.directory.into(), HINTED_FROM.into()]).await?;
    rows.iter().map(|row| resource::parse_document(ResourceKind::User, row.text(0)?, row.text(1)?)).collect()
}

/// Tells whether a removed user had that value. Addresses of tombstones are not looked up.
async fn is_tombstone(tx: &mut Tx, org: OrgId, to: LinkTo, value: &str) -> Result<bool, StoreError> {
    match to {
        LinkTo::ExternalId => {
            let sql = "select 1 from resource \
                       where organization = $1 and external_id = $2 and deleted is not null and kind = 'User'";
            Ok(tx.row(sql, &[org.into(), value.into()]).await?.is_some())
        }
        LinkTo::UserName => is_tombstone_name(tx, org, value).await,
        LinkTo::Email => Ok(false),
    }
}

async fn is_tombstone_name(tx: &mut Tx, org: OrgId, name: &str) -> Result<bool, StoreError> {
    let sql = "select 1 from resource \
               where organization = $1 and name = $2 and deleted is not null and kind = 'User'";
    Ok(tx.row(sql, &[org.into(), fold::unique_key(name).into()]).await?.is_some())
}

/// Finds what keeps out whoever has the name or address that somebody without a directory comes with: the last word
/// of a directory that is not fed any more, or an operator's, also of somebody whom a login made. Coarsely: who was
/// put out does not come back by another spelling. Somebody active who has a directory's name by now is the one it
/// speaks of.
pub(super) async fn left_out(
    tx: &mut Tx,
    org: OrgId,
    claims: &LoginAttributes,
) -> Result<Option<AdmissionRefusal>, StoreError> {
    let believed = [claims.email.as_deref(), claims.attributes.first_text(Attributes::PREFERRED_USERNAME)];
    let said = claims.names_said.iter().map(String::as_str);
    let said: Vec<&str> = believed.into_iter().flatten().chain(said).collect();
    for name in &said {
        let sql = "select r.deleted, a.active, a.disabled from resource r \
                   join account a on a.organization = r.organization and a.id = r.account \
                   where r.organization = $1 and r.name = $2 and r.kind = 'User'";
        let mut word = None;
        let mut somebody_active = false;
        for row in tx.rows(sql, &[org.into(), fold::unique_key(name).into()]).await? {
            match (row.maybe_int(0)?.is_some(), row.flag(1)?, row.flag(2)?) {
                (true, ..) => word = word.or(Some(AdmissionRefusal::Removed)),
                (_, _, true) => word = Some(AdmissionRefusal::Disabled),
                (_, false, _) => word = Some(AdmissionRefusal::Inactive),
                _ => somebody_active = true,
            }
        }
        // An address of somebody whom an operator disabled, though the directory calls them otherwise.
        let at_home = if name.contains('@') {
            matching_accounts(tx, org, LinkTo::Email, name).await?
        } else {
            Vec::new()
        };
        for (_, account) in at_home {
            let AccountRow { active, disabled, .. } = account::known_account(tx, org, account).await?;
            match (active, disabled) {
                (_, true) => word = Some(AdmissionRefusal::Disabled),
                (false, _) => word = word.or(Some(AdmissionRefusal::Inactive)),
                (true, false) => somebody_active = true,
            }
        }
        if !somebody_active && word.is_some() {
            return Ok(word);
        }
    }
    let said: Vec<String> = said.iter().map(|name| fold::unique_key(name)).collect();
    let sql = "select id, told from account where organization = $1 and disabled = 1 and directory is null";
    for row in tx.rows(sql, &[org.into()]).await? {
        let told = account::read_told(AccountId(row.int(0)?), row.maybe_text(1)?)?;
        if folded_address(&told).is_some_and(|address| said.contains(&address)) {
            return Ok(Some(AdmissionRefusal::Disabled));
        }
    }
    Ok(None)
}
