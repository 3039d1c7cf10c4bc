//! One OpenID provider: metadata, keys, clocks, scopes, redirect URI, secret, and how far it has got.

use portcullis_config::{IdpEntry, Oidc};
use portcullis_keys::Random;
use portcullis_policy::{ClientAuth, Timestamp};
use portcullis_sso::{AuthorizationWord, ClientWord, OidcIdp, OidcInquiry, OidcSettings};

use super::check::{DoctorCheck, describe_span};
use super::checkup::Checkup;
use crate::settings;
use crate::terminal::count_things;

/// Asks the provider and judges what it says.
pub(super) async fn look_at_provider(checkup: &Checkup, idp: &IdpEntry, entry: &Oidc) -> Vec<DoctorCheck> {
    let made = OidcIdp::new(settings::oidc_settings(&checkup.file, idp, entry), checkup.fetch.clone());
    let found = made.inquire(&mut Random::from_system(), &Timestamp::now).await;
    let (name, settings) = (idp.name.as_str(), made.settings());
    let mut checks = Vec::new();
    match &found.metadata {
        Ok(unusable) if unusable.is_empty() => {
            checks.push(DoctorCheck::ok(
                "discovery",
                name,
                format!("{} answers with its metadata", settings.issuer),
            ));
        }
        Ok(unusable) => checks.push(DoctorCheck::warn(
            "discovery",
            name,
            format!("its metadata names what cannot be used and is taken as absent: {}", unusable.join("; ")),
            "",
        )),
        Err(refusal) => checks.push(DoctorCheck::of_refusal("discovery", name, refusal)),
    }
    checks.extend(judge_keys(name, &found));
    if found.metadata.is_ok() || found.clock_gap_ms.is_some() {
        checks.push(judge_clock(name, found.clock_gap_ms, settings.skew_ms));
    }
    checks.extend(judge_scopes(name, settings, &found));
    checks.extend(found.redirect_uri.as_ref().map(|word| judge_redirect_uri(name, settings, word)));
    checks.extend(found.client_secret.as_ref().map(|word| judge_client(name, settings, word)));
    checks.push(checkup.describe_idp_state(name, Some(&settings.issuer), found.metadata.is_ok()));
    checks
}

fn judge_keys(name: &str, found: &OidcInquiry) -> Option<DoctorCheck> {
    Some(match found.keys.as_ref()? {
        Ok(keys) if keys.algorithms.is_empty() => DoctorCheck::fail(
            "keys",
            name,
            format!(
                "{}, and none for an algorithm that its metadata lists and we take",
                count_things(keys.count, "signing key")
            ),
            "Let it sign ID tokens with RS256, ES256 or another of RS, PS, ES and EdDSA",
        ),
        Ok(keys) => DoctorCheck::ok(
            "keys",
            name,
            format!("{} for {}", count_things(keys.count, "signing key"), keys.algorithms.join(", ")),
        ),
        Err(refusal) => DoctorCheck::of_refusal("keys", name, refusal),
    })
}

/// A gap between clocks above which it deserves a look, in milliseconds.
const NOTABLE_MS: i64 = 30_000;

/// Judges the gap between the clocks against the error that is allowed.
pub(super) fn judge_clock(name: &str, gap: Option<i64>, skew_ms: i64) -> DoctorCheck {
    const REMEDY: &str = "Set both clocks by NTP: timedatectl says whether this machine's is";
    let Some(gap) = gap else {
        return DoctorCheck::warn("clock", name, "no answer had a date, so the clocks were not compared", "");
    };
    let span = describe_span(i64::try_from(gap.unsigned_abs()).unwrap_or(i64::MAX));
    let way = if gap > 0 { "ahead of" } else { "behind" };
    let (apart, allowed) = (gap.unsigned_abs(), describe_span(skew_ms));
    if apart > skew_ms.unsigned_abs() {
        let detail =
            format!("the provider's is {span} {way} ours, and {allowed} are allowed: logins are refused");
        return DoctorCheck::fail("clock", name, detail, REMEDY);
    }
    if apart > NOTABLE_MS.unsigned_abs() {
        let detail = format!("the provider's is {span} {way} ours; {allowed} are allowed");
        return DoctorCheck::warn("clock", name, detail, REMEDY);
    }
    DoctorCheck::ok(
        "clock",
        name,
        format!("the clocks agree to {}", describe_span(apart.try_into().unwrap_or(0))),
    )
}

fn judge_scopes(name: &str, settings: &OidcSettings, found: &OidcInquiry) -> Option<DoctorCheck> {
    found.metadata.as_ref().ok()?;
    let asked = settings.scopes.join(", ");
    if let Some(AuthorizationWord::Error(word)) = &found.redirect_uri
        && word == "invalid_scope"
    {
        return Some(DoctorCheck::fail(
            "scopes",
            name,
            format!("invalid_scope: the provider refuses the scopes {asked}"),
            format!(
                "Begin with idps.{name}.oidc.scopes: [openid, profile, email], and add what the provider has"
            ),
        ));
    }
    Some(match &found.unlisted_scopes {
        None => DoctorCheck::ok("scopes", name, format!("asks for {asked}; the metadata lists none")),
        Some(unlisted) if unlisted.is_empty() => {
            DoctorCheck::ok("scopes", name, format!("asks for {asked}, which the metadata lists"))
        }
        Some(unlisted) => DoctorCheck::warn(
            "scopes",
            name,
            format!("asks for {}, which the provider's metadata does not list", unlisted.join(", ")),
            format!("Where logins end with invalid_scope, take it out of idps.{name}.oidc.scopes"),
        ),
    })
}

fn judge_redirect_uri(name: &str, settings: &OidcSettings, word: &AuthorizationWord) -> DoctorCheck {
    let OidcSettings { redirect_uri, client_id, .. } = settings;
    let id = "redirect_uri";
    match word {
        AuthorizationWord::Taken => DoctorCheck::ok(id, name, format!("{redirect_uri} is registered")),
        AuthorizationWord::OtherRedirectUri => DoctorCheck::fail(
            id,
            name,
            format!("redirect_uri_mismatch: the provider does not have {redirect_uri} for this client"),
            "Paste it there, exactly, as redirect URI; portcullis urls prints it",
        ),
        AuthorizationWord::UnknownClient => DoctorCheck::fail(
            id,
            name,
            format!("invalid_client: the provider knows no client {client_id}"),
            format!("Copy the client ID again into idps.{name}.oidc.client_id"),
        ),
        AuthorizationWord::Error(word) if word == "invalid_scope" => {
            DoctorCheck::ok(id, name, format!("{redirect_uri} is registered"))
        }
        AuthorizationWord::Error(word) => DoctorCheck::warn(
            id,
            name,
            format!(
                "{redirect_uri} is registered, and the provider answers {word} before anybody has signed in"
            ),
            "Look up the word in the provider's log, and how the application is registered there",
        ),
        AuthorizationWord::Untold(status) => DoctorCheck::warn(
            id,
            name,
            format!("cannot be told without a login: the provider answered {status} with a page of its own"),
            "Sign in once. If that is refused, portcullis ref tells why, by the number on the page",
        ),
        AuthorizationWord::Unasked(why) => {
            DoctorCheck::warn(id, name, format!("was not told: {why}"), "Ask again, or sign in once")
        }
    }
}

fn judge_client(name: &str, settings: &OidcSettings, word: &ClientWord) -> DoctorCheck {
    let id = "client_secret";
    let auth = match settings.client_auth {
        ClientAuth::Basic => "basic",
        ClientAuth::Post => "post",
    };
    match word {
        ClientWord::Taken => DoctorCheck::ok(id, name, format!("is taken, sent with client_auth: {auth}")),
        ClientWord::Refused(word) => DoctorCheck::fail(
            id,
            name,
            format!(
                "invalid_client: the provider refuses client ID or secret, sent with client_auth: {auth} ({word})"
            ),
            format!(
                "Copy both again from the application's page there: idps.{name}.oidc.client_id and client_secret. Where they are \
                 right, try the other client_auth"
            ),
        ),
        ClientWord::NotAllowed => DoctorCheck::fail(
            id,
            name,
            "unauthorized_client: the provider takes the client, and not that it redeems codes",
            "Allow this client the authorization code grant. Some providers say this of a wrong client_secret too",
        ),
        ClientWord::Untold(word) => DoctorCheck::warn(
            id,
            name,
            format!("cannot be told: the provider answered {word} to a code that is none"),
            "Sign in once. If that is refused, portcullis ref tells why, by the number on the page",
        ),
        ClientWord::Unasked(why) => {
            let remedy = "Let this machine reach the token endpoint that the metadata names: no login works without it";
            DoctorCheck::fail(id, name, format!("was not told: {why}"), remedy)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_are_judged_by_what_logins_put_up_with() {
        let told = |gap| {
            let check = serde_json::to_value(judge_clock("op", gap, 60_000)).unwrap();
            format!("{} {}", check["state"].as_str().unwrap(), check["detail"].as_str().unwrap())
        };
        assert_eq!(told(Some(-900)), "ok the clocks agree to 0 seconds");
        assert_eq!(told(Some(30_000)), "ok the clocks agree to 30 seconds");
        assert_eq!(
            told(Some(45_000)),
            "warn the provider's is 45 seconds ahead of ours; 1 minute are allowed"
        );
        assert_eq!(
            told(Some(-7_200_000)),
            "fail the provider's is 2 hours behind ours, and 1 minute are allowed: logins are refused"
        );
        assert!(told(None).starts_with("warn"));
    }
}
