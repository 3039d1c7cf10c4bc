//! The directory that writes here by SCIM: tokens, calls, people, attributes, changes, leavers, and how far it has got.

use portcullis_config::{ScimBlock, UserSource};
use portcullis_policy::Timestamp;
use portcullis_store::{DirectoryGlance, TokenRow};

use super::check::{DoctorCheck, describe_span};
use super::checkup::Checkup;
use crate::condition::ScimCalls;
use crate::person::format_rfc3339;
use crate::terminal::{count_people, count_things};

const SCIM: &str = "scim";
const DAY_MS: i64 = 24 * 3_600_000;
/// Changes and leavers are missed after so many days.
const HABIT_DAYS: i64 = 30;
/// A directory that has called is missed after so long.
const SILENT_MS: i64 = 14 * DAY_MS;
/// The time before its end from which a token deserves a look.
const AHEAD_MS: i64 = 14 * DAY_MS;

/// Looks at the directory.
pub(super) fn look_at_directory(checkup: &Checkup) -> Vec<DoctorCheck> {
    let now = Timestamp::now();
    let scim = match &checkup.file.provisioning {
        UserSource::Scim(scim) => scim,
        UserSource::Invited => {
            return vec![DoctorCheck::ok("state", SCIM, "no directory writes here (provisioning: invited)")];
        }
        UserSource::None => {
            return vec![DoctorCheck::ok("state", SCIM, "no directory writes here (provisioning: none)")];
        }
    };
    let mut checks = vec![judge_base_url(scim, checkup)];
    let Some((seen, glance)) = checkup.glance().and_then(|seen| Some((seen, seen.directory.as_ref()?)))
    else {
        checks.push(DoctorCheck::warn(
            "people",
            SCIM,
            "is not known: the database was not read",
            "See above at database",
        ));
        return checks;
    };
    checks.extend(judge_tokens(scim, &seen.tokens, now));
    let calls = DirectoryCalls::of(checkup, &seen.tokens, glance);
    checks.push(calls.judge_calls(now));
    let groups = count_things(glance.groups, "group");
    let people = count_people(glance.people);
    checks.push(DoctorCheck::ok("people", SCIM, format!("{people}, {groups}")));
    if glance.people > 0 {
        checks.push(judge_attributes(glance));
        checks.extend(judge_changes(glance, now));
    }
    let has_token = scim.token.is_some() || seen.tokens.iter().any(|token| is_live(token, now));
    checks.push(judge_state(has_token, &calls, glance));
    checks
}

/// A call with a token of ours that finds nothing asks below another address, where none ever succeeded.
fn judge_base_url(scim: &ScimBlock, checkup: &Checkup) -> DoctorCheck {
    let base = format!("{}/scim/v2", scim.public_url);
    let calls = checkup.condition().map(|condition| &condition.scim);
    match calls.filter(|calls| calls.succeeded.is_none() && calls.not_found > 0) {
        Some(calls) => DoctorCheck::fail(
            "base_url",
            SCIM,
            format!(
                "404 Not Found: {} with a good token found nothing, and none succeeded, since the start",
                count_things(calls.not_found, "call")
            ),
            format!("Enter {base} as the base URL at the identity provider, exactly"),
        ),
        None => DoctorCheck::ok("base_url", SCIM, format!("{base} is the one to enter there")),
    }
}

fn is_live(token: &TokenRow, now: Timestamp) -> bool {
    token.revoked.is_none() && now < token.expires
}

fn judge_tokens(scim: &ScimBlock, tokens: &[TokenRow], now: Timestamp) -> Vec<DoctorCheck> {
    let kept: Vec<&TokenRow> = tokens.iter().filter(|token| token.revoked.is_none()).collect();
    let mut checks = Vec::new();
    if scim.token.is_some() {
        checks.push(DoctorCheck::ok(
            "token",
            SCIM,
            "one of the configuration (scim.token), without an end; its age is the file's",
        ));
    }
    for token in &kept {
        let name = &token.name;
        let age = describe_span(now.since_ms(token.created));
        let used = match token.used {
            Some(used) => format!("last used {} ago", describe_span(now.since_ms(used))),
            None => "never used".to_owned(),
        };
        let left = token.expires.since_ms(now);
        checks.push(if left <= 0 {
            DoctorCheck::fail(
                "token",
                SCIM,
                format!(
                    "{name} is {age} old, {used}, and ended {} ago: it only takes away, and everything else is answered 401",
                    describe_span(-left)
                ),
                format!("portcullis token rotate {name}, and enter the new one at the identity provider"),
            )
        } else if left < AHEAD_MS {
            DoctorCheck::warn(
                "token",
                SCIM,
                format!("{name} is {age} old, {used}, and ends in {}", describe_span(left)),
                format!("portcullis token rotate {name}, and enter the new one at the identity provider"),
            )
        } else {
            DoctorCheck::ok(
                "token",
                SCIM,
                format!("{name} is {age} old, {used}, and ends in {}", describe_span(left)),
            )
        });
    }
    if checks.is_empty() {
        checks.push(DoctorCheck::fail(
            "token",
            SCIM,
            "there is none, so every call is answered 401",
            "portcullis token new --scim --name okta, and enter it at the identity provider",
        ));
    }
    checks
}

/// The calls of the directory, as far as they are known.
struct DirectoryCalls {
    /// Those since the program started; `None` where none runs.
    counted: Option<ScimCalls>,
    /// The last one known that succeeded.
    last: Option<Timestamp>,
}

impl DirectoryCalls {
    fn of(checkup: &Checkup, tokens: &[TokenRow], glance: &DirectoryGlance) -> Self {
        let counted = checkup.condition().map(|condition| condition.scim.clone());
        let told = counted.as_ref().and_then(|counted| counted.succeeded.as_deref());
        let told = told.and_then(|told| told.parse::<jiff::Timestamp>().ok());
        let told = told.map(|told| Timestamp(told.as_millisecond()));
        let used = tokens.iter().filter_map(|token| token.used).max();
        let wrote = glance.newest.first().map(|newest| newest.created);
        Self { counted, last: [told, used, glance.last_change, wrote].into_iter().flatten().max() }
    }

    fn count_unauthorized(&self) -> u64 {
        self.counted.as_ref().map_or(0, |counted| counted.unauthorized)
    }

    fn has_succeeded_lately(&self) -> bool {
        self.counted.as_ref().is_some_and(|counted| counted.succeeded.is_some())
    }

    fn judge_calls(&self, now: Timestamp) -> DoctorCheck {
        let refused = self.count_unauthorized();
        let calls = count_things(refused, "call");
        if refused > 0 && !self.has_succeeded_lately() {
            return DoctorCheck::fail(
                "calls",
                SCIM,
                format!(
                    "401 Unauthorized: {calls} without a token that is known here, and none that succeeded, since the start"
                ),
                "Enter a token of this directory there: portcullis token list has ours with age and last use, portcullis token \
                 rotate makes the next",
            );
        }
        let forbidden = self.counted.as_ref().map_or(0, |counted| counted.forbidden);
        if forbidden > 0 && !self.has_succeeded_lately() {
            return DoctorCheck::fail(
                "calls",
                SCIM,
                format!(
                    "403 Forbidden: {} from an address that scim.allow does not have, and none that succeeded, since the start",
                    count_things(forbidden, "call")
                ),
                "Add the directory's addresses to scim.allow; where a proxy stands before us, name it in trusted_proxies",
            );
        }
        let Some(last) = self.last else {
            let told = if self.counted.is_some() {
                "no call yet"
            } else {
                "none is known: the program, which counts them, does not answer"
            };
            return DoctorCheck::warn(
                "calls",
                SCIM,
                told,
                "Test the connection at the identity provider, and see that it reaches scim.public_url",
            );
        };
        let age = now.since_ms(last);
        let detail = format!("the last that is known to have succeeded was {} ago", describe_span(age));
        if refused > 0 {
            return DoctorCheck::warn(
                "calls",
                SCIM,
                format!(
                    "{detail}; 401 Unauthorized: {calls} without a token that is known here, since the start"
                ),
                "Somebody else knocks, or a second connection has an old token: the log has their addresses",
            );
        }
        if age > SILENT_MS {
            return DoctorCheck::warn(
                "calls",
                SCIM,
                format!("{detail}: the directory has fallen silent"),
                "Look at the provisioning log of the identity provider: many stop after failures, and wait for you",
            );
        }
        DoctorCheck::ok("calls", SCIM, detail)
    }
}

fn judge_attributes(glance: &DirectoryGlance) -> DoctorCheck {
    let newest = &glance.newest;
    let mut lacks = Vec::new();
    for wanted in ["userName", "name.givenName", "name.familyName", "emails"] {
        let count = newest.iter().filter(|person| person.missing.contains(&wanted)).count();
        if count > 0 {
            lacks.push(format!("{wanted} ({count})"));
        }
    }
    let of = format!("of the last {} who were created", newest.len());
    if lacks.is_empty() {
        return DoctorCheck::ok("attributes", SCIM, format!("{of} all have userName, name and emails"));
    }
    let came = newest.first().map(|last| last.attributes.join(", ")).unwrap_or_default();
    DoctorCheck::warn(
        "attributes",
        SCIM,
        format!(
            "users come without attributes: {of} some lack {}; of the last came {came}",
            lacks.join(", ")
        ),
        "Map them in the provisioning settings of the identity provider: userName, name.givenName, name.familyName, emails",
    )
}

fn judge_changes(glance: &DirectoryGlance, now: Timestamp) -> Vec<DoctorCheck> {
    let first = glance.first_created.unwrap_or(now);
    let age = now.since_ms(first);
    let habit_ms = HABIT_DAYS * DAY_MS;
    let is_within = |at: Option<Timestamp>| at.is_some_and(|at| now.since_ms(at) <= habit_ms);
    let mut checks = Vec::new();
    if age <= habit_ms {
        let detail = format!("too young to tell: the first person came {} ago", describe_span(age));
        return vec![DoctorCheck::ok("changes", SCIM, detail)];
    }
    checks.push(if is_within(glance.last_change) {
        DoctorCheck::ok("changes", SCIM, format!("people were changed within {HABIT_DAYS} days"))
    } else {
        DoctorCheck::warn(
            "changes",
            SCIM,
            format!("created, never updated: nobody was changed within {HABIT_DAYS} days"),
            "Switch on \"update user attributes\" at the identity provider",
        )
    });
    checks.push(if is_within(glance.last_leaving) {
        DoctorCheck::ok("leavers", SCIM, format!("people were deactivated or removed within {HABIT_DAYS} days"))
    } else {
        DoctorCheck::warn(
            "leavers",
            SCIM,
            format!("deactivated there, active here? Nobody was deactivated or removed within {HABIT_DAYS} days"),
            "Switch on \"deactivate users\" at the identity provider, and compare its people with portcullis user list",
        )
    });
    checks
}

fn judge_state(has_token: bool, calls: &DirectoryCalls, glance: &DirectoryGlance) -> DoctorCheck {
    let id = "state";
    if glance.people > 0 {
        let since = glance.first_created.map(format_rfc3339).unwrap_or_default();
        return DoctorCheck::ok(id, SCIM, format!("Linked: people are provisioned, since {since}"));
    }
    if !has_token {
        return DoctorCheck::fail(
            id,
            SCIM,
            "Inactive: there is no token",
            "portcullis token new --scim --name okta, and enter it at the identity provider",
        );
    }
    if calls.last.is_some() {
        return DoctorCheck::warn(
            id,
            SCIM,
            "Validating: it calls, and no user came",
            "Assign people or groups to the application at the identity provider, and start its provisioning",
        );
    }
    if calls.count_unauthorized() > 0 {
        return DoctorCheck::fail(
            id,
            SCIM,
            "Inactive: only 401s",
            "Enter a token of this directory at the identity provider",
        );
    }
    DoctorCheck::warn(
        id,
        SCIM,
        "Inactive: no call yet",
        "Enter base URL and token at the identity provider, and test the connection there",
    )
}
