//! What the operator is told of a refusal under its reference number: the facts it was decided by, and what would help.
//!
//! The person who was refused sees the number alone. Nothing secret is among the facts, what a client sent is cut, and
//! people are named as far as `log.identity` says. It decides nothing.

use std::io::ErrorKind;
use std::time::Duration;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, HeaderName, StatusCode};
use portcullis_policy::{Allow, DenyReason, LogIdentity, Policy, Principal, RouteKey, Rule};
use portcullis_session::Ended;
use serde_json::Value;

use super::refusal::RequestRefusal;
use crate::cookies;
use crate::line::{Detail, Line};
use crate::rules::{AppRules, Rules};
use crate::upstream::{Upstream, UpstreamFault};

/// The number of groups that are listed; a person of a large directory has hundreds.
const LISTED: usize = 50;

const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The fault on the way to the application.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The address as configured.
    pub(crate) upstream: String,
    /// In the system's own words where it has some.
    pub(crate) cause: String,
    /// The limit that ended it, with its value.
    pub(crate) limit: Option<String>,
    /// The application had begun to answer.
    pub(crate) has_begun: bool,
}

impl Trouble {
    /// Tells why an exchange with the application failed.
    pub(crate) fn from_fault(fault: &UpstreamFault, has_begun: bool, upstream: &Upstream) -> Self {
        let limit = |key: &str, limit: Duration| Some(format!("{key}: {}", show_seconds(limit)));
        let connecting = limit("upstream.connect_timeout", upstream.connect_timeout);
        let (cause, limit) = match fault {
            UpstreamFault::Late => (
                format!("no answer began within {}", show_seconds(upstream.first_byte_timeout)),
                limit("upstream.first_byte_timeout", upstream.first_byte_timeout),
            ),
            UpstreamFault::Connect(error) if error.kind() == ErrorKind::TimedOut => (
                format!("no connection was made within {}", show_seconds(upstream.connect_timeout)),
                connecting,
            ),
            UpstreamFault::Connect(error) if error.kind() == ErrorKind::NotFound => {
                match upstream.not_found() {
                    Some((cause, in_time)) => (cause, connecting.filter(|_| !in_time)),
                    None => ("it has no address".to_owned(), None),
                }
            }
            UpstreamFault::Connect(error) if error.kind() == ErrorKind::ConnectionRefused => {
                (format!("the connection was refused: nothing listens there ({error})"), None)
            }
            fault => (fault.to_string(), None),
        };
        Self { upstream: upstream.at().to_string(), cause, limit, has_begun }
    }

    fn add_to_detail(&self, detail: &mut Detail) {
        let Self { upstream, cause, limit, .. } = self;
        detail.insert("upstream".to_owned(), upstream.as_str().into());
        detail.insert("cause".to_owned(), cause.as_str().into());
        if let Some(limit) = limit {
            detail.insert("limit".to_owned(), limit.as_str().into());
        }
    }
}

/// Seconds as the configuration writes them.
fn show_seconds(limit: Duration) -> String {
    if limit.subsec_millis() == 0 {
        format!("{}s", limit.as_secs())
    } else {
        format!("{}ms", limit.as_millis())
    }
}

/// The facts that a refusal was decided by.
pub(crate) struct RefusalContext<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) place: Option<&'a AppRules>,
    pub(crate) parts: &'a Parts,
    pub(crate) line: &'a Line,
    /// The longest pause of a body.
    pub(crate) idle: Duration,
    pub(crate) trouble: Option<&'a Trouble>,
}

impl RefusalContext<'_> {
    /// The rule that does not let the person in: that of the path, or of another reading of it.
    pub(crate) fn rule(&self) -> Option<&std::sync::Arc<Rule>> {
        let (app, target) = (self.place?.app(), self.parts.uri.path_and_query()?);
        let asked = RouteKey { host: &app.host, target, method: &self.parts.method };
        self.rules.policy().find_route(&asked).ok()?.refusing_rule(self.line.who.as_deref()?)
    }

    /// Everything there is to tell.
    pub(crate) fn full_detail(&self, why: RequestRefusal) -> Detail {
        let mut told = Detail::new();
        let say = |told: &mut Detail, detail: String, help: String| {
            told.insert("what".to_owned(), "request refused".into());
            told.insert("detail".to_owned(), detail.into());
            if !help.is_empty() {
                told.insert("help".to_owned(), help.into());
            }
        };
        if let Some(trouble) = self.trouble {
            trouble.add_to_detail(&mut told);
        }
        let (detail, help) = match why {
            RequestRefusal::Denied(DenyReason::Role) => self.of_a_role(&mut told),
            RequestRefusal::Ended(Ended::Forbidden) => self.of_a_name(),
            RequestRefusal::Denied(DenyReason::UnknownHost) => self.of_a_host(&mut told),
            RequestRefusal::Denied(DenyReason::NoRoute) => self.of_no_route(),
            RequestRefusal::Denied(DenyReason::Method) => self.of_a_method(&mut told),
            RequestRefusal::OtherSite => self.of_another_site(&mut told),
            RequestRefusal::Login => self.of_nobody(),
            RequestRefusal::Ended(ended) => of_an_end(ended),
            RequestRefusal::Unacceptable(word, status) => self.of_a_head(&mut told, word, status),
            RequestRefusal::BodySlow => {
                told.insert("limit".to_owned(), format!("limits.idle: {}", show_seconds(self.idle)).into());
                ("the client stopped in the middle of its body".to_owned(), String::new())
            }
            _ if self.trouble.is_some_and(|trouble| trouble.has_begun) => (
                "the application broke off an answer that it had begun; the client saw it end in the middle"
                    .to_owned(),
                "look into its own log at this time".to_owned(),
            ),
            _ => of_a_fault(why),
        };
        say(&mut told, detail, help);
        told
    }

    fn of_a_role(&self, told: &mut Detail) -> (String, String) {
        let (Some(rule), Some(who)) = (self.rule(), self.line.who.as_deref()) else {
            return ("the person has none of the roles that the rule asks for".to_owned(), String::new());
        };
        let wanted: &[_] = match &rule.allow {
            Allow::Roles(wanted) => wanted,
            Allow::Public | Allow::SignedIn => &[],
        };
        told.insert("asks_for".to_owned(), list_as_json(wanted.iter().map(|role| &**role)));
        told.insert("roles".to_owned(), list_as_json(who.roles().names().iter().map(|role| &**role)));
        let groups = &who.facts().groups;
        if self.rules.log.identity != LogIdentity::None {
            told.insert("groups".to_owned(), list_as_json(groups.iter().map(|group| &**group)));
        }
        let path = rule.pattern.as_written();
        let detail =
            format!("the rule {path} asks for {}, and the person has {}", join_roles(wanted), all_of(who));
        (detail, what_gives(self.rules.policy(), wanted, who))
    }

    /// Tells of somebody of whom nothing can be said to the application, who is let in nowhere.
    fn of_a_name(&self) -> (String, String) {
        match self.line.untold.as_deref() {
            Some(fault) => (fault.to_string(), fault.remedy().to_owned()),
            None => of_an_end(Ended::Forbidden),
        }
    }

    fn of_a_host(&self, told: &mut Detail) -> (String, String) {
        let expected = || self.rules.sites().map(|site| site.authority.to_str().unwrap_or_default());
        told.insert("expected".to_owned(), list_as_json(expected()));
        let came = self.parts.uri.authority().map(|authority| authority.as_str().to_owned());
        let came = came.or_else(|| field_text(&self.parts.headers, &HOST)).unwrap_or_default();
        let elsewhere = field_text(&self.parts.headers, &X_FORWARDED_HOST);
        let came =
            if came.is_empty() { "no host".to_owned() } else { format!("the host {}", cut_text(&came)) };
        let expected = expected().map(cut_text).collect::<Vec<_>>().join(", ");
        let detail = format!("{came} was asked for, and public_url is of {expected}");
        let help = match elsewhere {
            Some(other) => format!(
                "let the proxy in front pass the Host as it came; X-Forwarded-Host, which says {}, is not read",
                cut_text(&other)
            ),
            None => "let the proxy in front pass the Host, or let public_url say the name that people use"
                .to_owned(),
        };
        (detail, help)
    }

    fn of_no_route(&self) -> (String, String) {
        let base = self.place.map_or("", |place| place.app().base.as_str());
        let below =
            |path: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if below(self.parts.uri.path()) {
            (
                "no rule matches the path, or one of the ways to read it, which may also lead to our own pages"
                    .to_owned(),
                "add a rule for it to routes; /** matches all that no other rule does".to_owned(),
            )
        } else {
            (
                format!("the path is not below {base}, which is the path of public_url"),
                format!("ask below {base}/, or let public_url end before it"),
            )
        }
    }

    fn of_a_method(&self, told: &mut Detail) -> (String, String) {
        let path = self.parts.uri.path();
        let taken: Vec<_> = self.place.map(|place| place.app().methods_at(path)).unwrap_or_default();
        told.insert("methods".to_owned(), list_as_json(taken.iter().map(|method| method.as_str())));
        (
            "the rules of the path do not take the method".to_owned(),
            "add the method to a rule of exactly this pattern: a wider rule is not asked".to_owned(),
        )
    }

    fn of_another_site(&self, told: &mut Detail) -> (String, String) {
        let origin = field_text(&self.parts.headers, &http::header::ORIGIN).unwrap_or_default();
        let expected = self.place.map_or("", |place| place.site().origin.as_str());
        told.insert("origin".to_owned(), cut_text(&origin).into());
        told.insert("expected".to_owned(), list_as_json([expected].into_iter()));
        (
            format!(
                "a page of {} sent it",
                if origin.is_empty() { "another site".to_owned() } else { cut_text(&origin) }
            ),
            format!("only pages of {expected} may; a proxy in front must not change Origin"),
        )
    }

    fn of_nobody(&self) -> (String, String) {
        let name = self.place.map(|place| place.site().cookie.as_str());
        let came = name.is_some_and(|name| cookies::find_cookie(&self.parts.headers, name).is_some());
        let detail = if came {
            "a session cookie came, and no session of this app is behind it: it is over and forgotten, or of other keys"
        } else {
            "no session cookie came with the request"
        };
        (detail.to_owned(), String::new())
    }

    fn of_a_head(&self, told: &mut Detail, word: &str, status: StatusCode) -> (String, String) {
        match status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                told.insert(
                    "limit".to_owned(),
                    format!("limits.head: {} bytes", self.rules.accept.head).into(),
                );
                told.insert("fields".to_owned(), self.parts.headers.len().into());
                (
                    "the head of the request is larger than the limit, or has more than 200 fields"
                        .to_owned(),
                    "mostly cookies: remove those of the host that nobody needs, or raise limits.head"
                        .to_owned(),
                )
            }
            StatusCode::URI_TOO_LONG => ("the target is longer than 16 KiB".to_owned(), String::new()),
            StatusCode::METHOD_NOT_ALLOWED => {
                ("TRACE, TRACK and CONNECT are never passed on".to_owned(), String::new())
            }
            _ => (format!("the request cannot be read: {word}"), String::new()),
        }
    }
}

/// Names what would give one of the roles: a group, another order of a conflict line, or a binding that is not there
/// yet.
fn what_gives(policy: &Policy, wanted: &[std::sync::Arc<str>], who: &Principal) -> String {
    let bindings = policy.bindings();
    let lost = bindings.resolve(who.facts()).lost;
    if let Some(lost) = lost.iter().find(|lost| wanted.contains(&lost.role)) {
        return format!(
            "the bindings give the person {}, but it loses to {}, which they give too: see conflicts in the bindings",
            cut_text(&lost.role),
            cut_text(&lost.to)
        );
    }
    let ways: Vec<String> = wanted
        .iter()
        .filter_map(|role| {
            let ways = bindings.what_gives(role);
            let named: Vec<String> = ways.iter().take(LISTED).map(|way| cut_text(way)).collect();
            (!named.is_empty()).then(|| format!("{} by {}", cut_text(role), named.join(" or ")))
        })
        .collect();
    if ways.is_empty() {
        "nothing gives any of these roles: bind one in the bindings file".to_owned()
    } else {
        format!("the person needs {}", ways.join(", or "))
    }
}

fn of_an_end(ended: Ended) -> (String, String) {
    let detail = match ended {
        Ended::Revoked => {
            "the session was revoked: the person was removed, put out, or their sessions were ended"
        }
        Ended::SignedOut => "the session was signed out",
        Ended::Idle => "nothing was heard from the client for session.idle",
        Ended::Expired => "the session reached its end: session.absolute, or what the identity provider said",
        Ended::Forbidden => "a role or a rule is gone",
        Ended::Changed => "what the application is told of the person changed meanwhile",
        Ended::OnHold => "the person is out: a removal was read, and the store could not write it down yet",
        Ended::Unproven => "the person's account could not be read in time",
    };
    let help = match ended {
        Ended::OnHold | Ended::Unproven => "look at the store: its disk, and what else uses it",
        _ => "",
    };
    (detail.to_owned(), help.to_owned())
}

fn of_a_fault(why: RequestRefusal) -> (String, String) {
    let (detail, help) = match why {
        RequestRefusal::Denied(DenyReason::AmbiguousPath) => (
            "the path has a broken % or a control character, or can be read in more ways than are decided",
            "the application must be asked by plainer paths (docs/operating.md)",
        ),
        RequestRefusal::Unproven => (
            "the session could not be read within a second, or roles and rules moved all the while",
            "look at the store: its disk, and what else uses it",
        ),
        RequestRefusal::Unreachable => (
            "the application cannot be reached, or what it answered is no HTTP",
            "look whether it runs and listens at the address of upstream",
        ),
        RequestRefusal::Slow => (
            "the application did not begin to answer in time",
            "look what it is busy with; where it may take so long, raise upstream.first_byte_timeout",
        ),
        RequestRefusal::TooLarge => ("the body is larger than the 64 KiB that our own pages take", ""),
        _ => ("something happened that cannot: please report it, with the lines of the log around it", ""),
    };
    (detail.to_owned(), help.to_owned())
}

fn join_roles(wanted: &[std::sync::Arc<str>]) -> String {
    wanted.iter().map(|role| cut_text(role)).collect::<Vec<_>>().join(" or ")
}

fn all_of(who: &Principal) -> String {
    let roles: Vec<String> = who.roles().names().iter().map(|role| cut_text(role)).collect();
    if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") }
}

fn field_text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// A list as JSON, its first [`LISTED`] entries and how many there are beside.
fn list_as_json<'a>(all: impl Iterator<Item = &'a str>) -> Value {
    let (mut listed, mut more) = (Vec::new(), 0);
    for entry in all {
        if listed.len() < LISTED { listed.push(Value::from(cut_text(entry))) } else { more += 1 }
    }
    if more > 0 {
        listed.push(format!("… and {more} more").into());
    }
    listed.into()
}

/// Foreign text as a record may hold it.
fn cut_text(text: &str) -> String {
    portcullis_policy::shown(text).into_owned()
}
