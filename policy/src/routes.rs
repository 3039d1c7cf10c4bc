//! The rules of an app: path patterns, what they allow, and which of them a request falls under.

use std::cmp::Reverse;
use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;

use crate::reading::{as_url, reading};
use crate::{
    AppId, Bindings, DenyReason, Facts, IdentityHeaders, NoName, OrgId, Principal, RulesVersion, Seq,
};

/// What a request asks for, as Accept read it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The `Host` field or `:authority`, with or without a port.
    pub host: &'a str,
    /// Path and query as sent.
    pub target: &'a PathAndQuery,
    /// The method.
    pub method: &'a Method,
}

/// Whom a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everybody; nobody is asked who they are, and no identity goes up.
    Public,
    /// Every signed-in person.
    SignedIn,
    /// Who has any of these roles.
    Roles(Arc<[Arc<str>]>),
}

/// What happens to a stream whose person's identity headers change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// It is cut; the client reconnects with true headers.
    #[default]
    Cut,
    /// It runs on with the headers it had.
    Keep,
}

/// A path pattern: `*` is one segment, a final `/**` is the path before it and all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    below: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
}

/// Why a pattern cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not an absolute path.
    #[error("a path starts with /")]
    NotAbsolute,
    /// `**` stands before the end.
    #[error("** stands at the end only")]
    InnerDoubleStar,
    /// A star beside other characters in one segment.
    #[error("* stands for a whole segment")]
    PartialStar,
    /// It could never match: such paths are refused before any rule is asked.
    #[error("a path with an empty or dot segment, %, \\, ;, ? or # is never matched")]
    NeverMatches,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what is not absolute, has a star inside a segment, or could never match.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let rest = text.strip_prefix('/').ok_or(PatternError::NotAbsolute)?;
        if rest.contains(['%', '\\', ';', '?', '#']) {
            return Err(PatternError::NeverMatches);
        }
        let mut parts: Vec<&str> = rest.split('/').collect();
        let below = parts.last() == Some(&"**");
        if below {
            parts.pop();
        }
        let count = parts.len();
        let segments = parts.into_iter().enumerate().map(|(at, part)| match part {
            "**" => Err(PatternError::InnerDoubleStar),
            "*" => Ok(Segment::Any),
            "." | ".." => Err(PatternError::NeverMatches),
            "" if at + 1 < count || below => Err(PatternError::NeverMatches),
            part if part.contains('*') => Err(PatternError::PartialStar),
            part => Ok(Segment::Literal(part.into())),
        });
        Ok(Self { text: text.into(), segments: segments.collect::<Result<_, _>>()?, below })
    }

    /// The pattern as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path falls under it, byte for byte: without its query, and decoded.
    pub fn matches(&self, path: &[u8]) -> bool {
        let Some(rest) = path.strip_prefix(b"/") else { return false };
        if self.below && self.segments.is_empty() {
            return true;
        }
        let mut parts = rest.split(|byte| *byte == b'/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Literal(literal), Some(part)) if literal.as_bytes() == part => {}
                (Segment::Any, Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        self.below || parts.next().is_none()
    }

    /// Larger is more specific: exact, then the longest literal prefix, then the one that says more.
    fn rank(&self) -> (bool, usize, bool, usize) {
        let literals = self.segments.iter().take_while(|segment| matches!(segment, Segment::Literal(_)));
        let prefix = literals
            .map(|segment| if let Segment::Literal(text) = segment { text.len() + 1 } else { 0 })
            .sum();
        let exact = !self.below && self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)));
        (exact, prefix, !self.below, self.segments.len())
    }
}

/// One rule: a pattern, perhaps methods, and whom it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which paths.
    pub pattern: Pattern,
    /// Which methods; empty means all.
    pub methods: Vec<Method>,
    /// Whom it lets in.
    pub allow: Allow,
    /// What happens to its streams when the person changes.
    pub on_change: OnChange,
}

/// Two rules that cannot both be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" and \"{1}\" match the same paths and methods but differ in what they allow")]
pub struct RuleError(pub String, pub String);

/// An app: its names, its own pages and its rules.
#[derive(Clone, Debug)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// Whose people may use it.
    pub org: OrgId,
    /// The host of `public_url`, lower case, without a port.
    pub host: String,
    /// The path of `public_url` without its final slash; empty for the root.
    pub base: String,
    /// Where our own pages are, below `base`: `/.portcullis`.
    pub prefix: String,
    own: String,
    rules: Vec<Arc<Rule>>,
    routed: bool,
}

impl App {
    /// Joins an app and its rules; without rules the whole site is for whoever is signed in.
    ///
    /// # Errors
    /// [`RuleError`] where two rules match the same and differ.
    pub fn new(
        id: AppId,
        org: OrgId,
        host: &str,
        base: &str,
        prefix: &str,
        rules: Vec<Rule>,
    ) -> Result<Self, RuleError> {
        let routed = !rules.is_empty();
        let mut rules: Vec<Arc<Rule>> = rules.into_iter().map(Arc::new).collect();
        if !routed {
            let pattern = Pattern { text: "/**".into(), segments: Vec::new(), below: true };
            let whole =
                Rule { pattern, methods: Vec::new(), allow: Allow::SignedIn, on_change: OnChange::Cut };
            rules.push(Arc::new(whole));
        }
        rules.sort_by_key(|rule| Reverse((rule.pattern.rank(), !rule.methods.is_empty())));
        for (at, rule) in rules.iter().enumerate() {
            let clash = |other: &&Arc<Rule>| rule.clashes_with(other);
            if let Some(other) = rules[at + 1..].iter().find(clash) {
                return Err(RuleError(rule.pattern.text.clone(), other.pattern.text.clone()));
            }
        }
        let (base, own) =
            (base.trim_end_matches('/').to_owned(), format!("{}{prefix}", base.trim_end_matches('/')));
        Ok(Self { id, org, host: host.to_ascii_lowercase(), base, prefix: prefix.into(), own, rules, routed })
    }

    /// Whether this is its host, compared folded; a port is not compared, a trailing dot is another name.
    fn answers_to(&self, host: &str) -> bool {
        let name = if let Some(end) = host.strip_prefix('[').and_then(|rest| rest.find(']')) {
            &host[..end + 2]
        } else {
            host.split_once(':').map_or(host, |(name, _)| name)
        };
        let port = &host[name.len()..];
        let well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
        well_formed && name.eq_ignore_ascii_case(&self.host)
    }

    /// The rule of a path as sent.
    fn rule(&self, path: &str, method: &Method) -> Result<&Arc<Rule>, DenyReason> {
        if !self.routed {
            return self.rule_of(path.as_bytes(), method);
        }
        let reading = reading(path).ok_or(DenyReason::AmbiguousPath)?;
        let rule = self.rule_of(&reading, method)?;
        let as_url = as_url(&reading);
        let is_same = |other: &Arc<Rule>| Arc::ptr_eq(rule, other);
        if as_url.len() < reading.len() && !self.rule_of(as_url, method).is_ok_and(is_same) {
            return Err(DenyReason::AmbiguousPath);
        }
        Ok(rule)
    }

    fn rule_of(&self, path: &[u8], method: &Method) -> Result<&Arc<Rule>, DenyReason> {
        let mut deciding = self.deciding(path).peekable();
        deciding.peek().ok_or(DenyReason::NoRoute)?;
        deciding
            .find(|rule| rule.methods.is_empty() || rule.methods.contains(method))
            .ok_or(DenyReason::Method)
    }

    /// The rules of the most specific pattern: a method they do not name is refused, never handed to a wider one.
    fn deciding(&self, path: &[u8]) -> impl Iterator<Item = &Arc<Rule>> {
        let mut matching = self.rules.iter().filter(move |rule| rule.pattern.matches(path)).peekable();
        let best = matching.peek().map(|rule| rule.pattern.rank());
        matching.take_while(move |rule| Some(rule.pattern.rank()) == best)
    }

    /// The methods that the rules of a path take, in their order; for `Allow` where another was asked for.
    pub fn methods(&self, path: &str) -> Vec<&Method> {
        let mut methods: Vec<&Method> = Vec::new();
        let Some(path) = reading(path) else { return methods };
        for method in self.deciding(&path).flat_map(|rule| &rule.methods) {
            if !methods.contains(&method) {
                methods.push(method);
            }
        }
        methods
    }
}

impl Rule {
    fn clashes_with(&self, other: &Rule) -> bool {
        let same_rank = self.pattern.rank() == other.pattern.rank()
            && self.methods.is_empty() == other.methods.is_empty();
        let methods_meet = self.methods.is_empty() || self.methods.iter().any(|m| other.methods.contains(m));
        let differ = self.allow != other.allow || self.on_change != other.on_change;
        same_rank && methods_meet && differ && self.pattern.overlaps(&other.pattern)
    }
}

impl Pattern {
    /// Whether some path falls under both; both have the same rank, so the same number of segments.
    fn overlaps(&self, other: &Pattern) -> bool {
        let meet =
            |(a, b): (&Segment, &Segment)| a == b || matches!(a, Segment::Any) || matches!(b, Segment::Any);
        self.segments.len() == other.segments.len() && self.segments.iter().zip(&other.segments).all(meet)
    }
}

/// What a request falls under.
#[derive(Clone, Copy, Debug)]
pub enum Route<'p> {
    /// One of our own pages; the path below the prefix, without a leading slash.
    Ours {
        /// The app whose prefix it is.
        app: &'p App,
    },
    /// The app's own site.
    Site {
        /// The app.
        app: &'p App,
        /// The rule that decides.
        rule: &'p Arc<Rule>,
    },
}

impl<'p> Route<'p> {
    /// The app.
    pub fn app(&self) -> &'p App {
        match self {
            Self::Ours { app } | Self::Site { app, .. } => app,
        }
    }

    /// Whether Identify has to look who is there.
    pub fn asks_who(&self) -> bool {
        matches!(self, Self::Site { rule, .. } if rule.allow != Allow::Public)
    }
}

/// Everything that decides, compiled from one configuration and one bindings file.
#[derive(Debug)]
pub struct Policy {
    version: RulesVersion,
    apps: Vec<App>,
    bindings: Bindings,
    identity: IdentityHeaders,
}

impl Policy {
    /// Joins the apps, the bindings and what the identity headers say. `version` grows with each reload.
    pub fn new(version: RulesVersion, apps: Vec<App>, bindings: Bindings, identity: IdentityHeaders) -> Self {
        Self { version, apps, bindings, identity }
    }

    /// The number of this configuration.
    pub fn version(&self) -> RulesVersion {
        self.version
    }

    /// The apps.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// The role bindings.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// What the identity headers say.
    pub fn identity(&self) -> IdentityHeaders {
        self.identity
    }

    /// The app of a host and the rule of the path, or one of our own pages.
    ///
    /// # Errors
    /// `UnknownHost` for a name that is nobody's, `NoRoute` and `Method` where no rule takes the request,
    /// `AmbiguousPath` where rules exist and a backend could read the path in more than one way.
    pub fn route(&self, asked: &Asked<'_>) -> Result<Route<'_>, DenyReason> {
        let app = self.apps.iter().find(|app| app.answers_to(asked.host)).ok_or(DenyReason::UnknownHost)?;
        self.of_app(app, asked.target.path(), asked.method)
    }

    /// What a path of an app falls under: a rule, or our own pages.
    pub(crate) fn of_app<'p>(
        &self,
        app: &'p App,
        path: &str,
        method: &Method,
    ) -> Result<Route<'p>, DenyReason> {
        if let Some(rest) = path.strip_prefix(app.own.as_str())
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Ok(Route::Ours { app });
        }
        let below = path.strip_prefix(app.base.as_str()).ok_or(DenyReason::NoRoute)?;
        let at_base = below.is_empty() && !app.base.is_empty();
        if !at_base && !below.starts_with('/') {
            return Err(DenyReason::NoRoute);
        }
        Ok(Route::Site { app, rule: app.rule(path, method)? })
    }

    /// The app with this id.
    pub fn app(&self, id: AppId) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    /// What these facts make of a person under this configuration.
    ///
    /// # Errors
    /// [`NoName`] where `headers.user` asks for something that is not known of the person.
    pub fn describe(&self, facts: &Arc<Facts>, at: Seq) -> Result<Principal, NoName> {
        let name = self.identity.user.of(facts)?;
        let roles = self.bindings.resolve(facts.groups.iter().map(|group| &**group)).roles;
        let headers = self.identity.prepare(&name, facts, &roles);
        Ok(Principal { facts: facts.clone(), at, rules: self.version, name, roles, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, methods: &[Method], allow: Allow) -> Rule {
        Rule {
            pattern: Pattern::parse(path).unwrap(),
            methods: methods.into(),
            allow,
            on_change: OnChange::Cut,
        }
    }

    fn admins() -> Allow {
        Allow::Roles(Arc::new(["admin".into()]))
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        let app = App::new(AppId::ONLY, OrgId::ONLY, "Wiki.example.com", "", "/.portcullis", rules).unwrap();
        let identity = IdentityHeaders { user: crate::UserFrom::UserName };
        Policy::new(RulesVersion(1), vec![app], Bindings::default(), identity)
    }

    fn found(policy: &Policy, method: &Method, path: &str) -> Result<String, DenyReason> {
        let target = PathAndQuery::try_from(path).unwrap();
        Ok(match policy.route(&Asked { host: "wiki.example.com", target: &target, method })? {
            Route::Ours { .. } => "ours".into(),
            Route::Site { rule, .. } => rule.pattern.text.clone(),
        })
    }

    #[test]
    fn a_host_is_compared_folded_and_its_dot_counts() {
        let policy = policy(vec![]);
        let target = PathAndQuery::from_static("/");
        let answers = |host| policy.route(&Asked { host, target: &target, method: &Method::GET }).is_ok();
        for host in ["wiki.example.com", "WIKI.example.com", "wiki.example.com:8443"] {
            assert!(answers(host), "{host}");
        }
        for host in [
            "",
            "wiki.example.com.",
            "wiki.example.com:x",
            "wiki.example.com:",
            "example.com",
            "wiki.example.com:1:2",
        ] {
            assert!(!answers(host), "{host}");
        }
    }

    #[test]
    fn without_routes_every_path_is_one_rule_but_our_own_pages() {
        let policy = policy(vec![]);
        assert_eq!(found(&policy, &Method::GET, "/a%2Fb;c//d/../e"), Ok("/**".into()));
        assert_eq!(found(&policy, &Method::GET, "/.portcullis"), Ok("ours".into()));
        assert_eq!(found(&policy, &Method::GET, "/.portcullis/login?x"), Ok("ours".into()));
        assert_eq!(found(&policy, &Method::GET, "/.portcullisx"), Ok("/**".into()));
    }

    #[test]
    fn the_most_specific_pattern_wins_and_its_methods_bind() {
        let policy = policy(vec![
            rule("/**", &[], Allow::SignedIn),
            rule("/admin/**", &[Method::GET, Method::POST], admins()),
            rule("/admin/health", &[], Allow::Public),
            rule("/files/*/raw", &[], admins()),
            rule("/files/**", &[], Allow::SignedIn),
        ]);
        let get = |path| found(&policy, &Method::GET, path);
        assert_eq!(get("/admin"), Ok("/admin/**".into()));
        assert_eq!(get("/admin/"), Ok("/admin/**".into()));
        assert_eq!(get("/admin/health?q"), Ok("/admin/health".into()));
        assert_eq!(get("/administrator"), Ok("/**".into()));
        assert_eq!(get("/files/7/raw"), Ok("/files/*/raw".into()));
        assert_eq!(get("/files/7/x"), Ok("/files/**".into()));
        assert_eq!(found(&policy, &Method::DELETE, "/admin/x"), Err(DenyReason::Method));
    }

    #[test]
    fn an_encoded_letter_does_not_walk_past_a_rule() {
        let policy = policy(vec![rule("/admin/**", &[], Allow::SignedIn), rule("/**", &[], Allow::Public)]);
        let get = |path| found(&policy, &Method::GET, path);
        assert_eq!(get("/admin/x"), Ok("/admin/**".into()));
        for path in
            ["/%61dmin/x", "/admi%6E/x", "/admin%2Fx", "/x/..%2fadmin", "/%C1%A1dmin/x", "/admin%3Bx", "/%"]
        {
            assert_eq!(get(path), Err(DenyReason::AmbiguousPath), "{path}");
        }
        for path in ["/a//admin", "/a/../admin/x", "/.\\admin", "/admin;x/y", "/./admin", "//admin/x"] {
            assert_eq!(get(path), Err(DenyReason::AmbiguousPath), "{path}");
        }
        assert_eq!(get("/x?y=%2F;//..%61"), Ok("/**".into()), "a query is the application's");
    }

    #[test]
    fn what_must_be_encoded_falls_under_the_rule_written_plainly() {
        let policy = policy(vec![
            rule("/räume/**", &[], admins()),
            rule("/my files/*", &[Method::GET], admins()),
            rule("/**", &[], Allow::Public),
        ]);
        let get = |path| found(&policy, &Method::GET, path);
        assert_eq!(get("/r%C3%A4ume/x"), Ok("/räume/**".into()));
        assert_eq!(get("/my%20files/a"), Ok("/my files/*".into()));
        assert_eq!(found(&policy, &Method::PUT, "/my%20files/a"), Err(DenyReason::Method));
        assert_eq!(policy.apps()[0].methods("/my%20files/a"), [&Method::GET]);
        assert_eq!(policy.apps()[0].methods("/%6Dy%20files/a"), Vec::<&Method>::new());
    }

    #[test]
    fn an_encoded_question_mark_passes_where_it_makes_no_difference() {
        let policy = policy(vec![rule("/wiki/**", &[], admins()), rule("/wiki/About", &[], Allow::Public)]);
        let get = |path| found(&policy, &Method::GET, path);
        assert_eq!(get("/wiki/What%3F"), Ok("/wiki/**".into()));
        assert_eq!(get("/wiki/C%23/edit"), Ok("/wiki/**".into()));
        assert_eq!(get("/wiki/About%3Fx"), Err(DenyReason::AmbiguousPath));
        assert_eq!(get("/wiki/About%23"), Err(DenyReason::AmbiguousPath));
    }

    #[test]
    fn routes_that_match_nothing_refuse() {
        let policy = policy(vec![rule("/only", &[], Allow::SignedIn)]);
        assert_eq!(found(&policy, &Method::GET, "/other"), Err(DenyReason::NoRoute));
        assert_eq!(found(&policy, &Method::GET, "/only/"), Err(DenyReason::NoRoute));
    }

    #[test]
    fn equals_that_differ_are_an_error() {
        let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).is_ok();
        assert!(!made(vec![rule("/a/**", &[], admins()), rule("/a/**", &[], Allow::SignedIn)]));
        assert!(!made(vec![rule("/a/*/x/*", &[], admins()), rule("/a/*/*/y", &[], Allow::SignedIn)]));
        assert!(made(vec![rule("/a/**", &[Method::GET], admins()), rule("/a/**", &[], Allow::SignedIn)]));
        assert!(made(vec![
            rule("/a/**", &[Method::GET], admins()),
            rule("/a/**", &[Method::PUT], Allow::SignedIn)
        ]));
    }

    #[test]
    fn patterns_that_cannot_match_are_errors() {
        for text in ["", "a", "/a*", "/**/a", "/a//b", "/a/../b", "/a%20b", "/a;b", "//**"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }

    /// Every way in which a backend might read a path; a lenient one, that passes over what it cannot decode.
    fn readings(path: &str) -> Vec<Vec<u8>> {
        let decode = |path: &[u8]| {
            let (mut decoded, mut at) = (Vec::new(), 0);
            while let Some(byte) = path.get(at) {
                let hex = path.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
                match hex.filter(|_| *byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                    Some(meant) => (decoded.push(meant), at += 3).1,
                    None => (decoded.push(*byte), at += 1).1,
                }
            }
            decoded
        };
        let each = |path: Vec<u8>| {
            let slashes: Vec<u8> =
                path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect();
            let segments = |path: &[u8], keep: fn(&[u8]) -> bool| {
                let cut =
                    |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap_or_default().to_vec();
                let mut kept: Vec<Vec<u8>> = Vec::new();
                let all: Vec<&[u8]> = path[1..].split(|byte| *byte == b'/').collect();
                for (at, segment) in all.iter().enumerate() {
                    match cut(segment) {
                        dots if dots == b".." => drop(kept.pop()),
                        dot if dot == b"." => {}
                        segment if keep(&segment) || at + 1 == all.len() => kept.push(segment),
                        _ => {}
                    }
                }
                [b"/", &kept.join(&b'/')[..]].concat()
            };
            let url = as_url(&slashes).to_vec();
            [
                segments(&slashes, |_| true),
                segments(&slashes, |segment| !segment.is_empty()),
                url,
                slashes,
                path,
            ]
        };
        let once = decode(path.as_bytes());
        let twice = decode(&once);
        let overlong = String::from_utf8_lossy(&once).replace("\u{FFFD}\u{FFFD}", "/").into_bytes();
        let first = each(path.as_bytes().to_vec());
        let later = first.clone().into_iter().flat_map(|path| each(decode(&path)));
        let more = [once, twice, overlong].into_iter().flat_map(each);
        first.into_iter().chain(later).chain(more).filter(|path| path.starts_with(b"/")).collect()
    }

    proptest::proptest! {
        /// Whatever is let through to a rule has one rule, however a backend reads it.
        #[test]
        fn no_reading_of_an_admitted_path_falls_under_another_rule(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "/", "/", "/", "admin", "a", "x", "b", "open", "-", "%20", "%C3%BC", "%28", "ü", "%E9",
                "%61", "%2f", "%2F", "%5c", "\\", ";", "%3b", "%25", "%252f", ".", "..", "%2e", "%c0%af", "%3F", "%23",
                "%", "%00", "%u0061", "//",
            ]), 0..9),
        ) {
            let rules = vec![
                rule("/admin/**", &[], admins()),
                rule("/a/*/x", &[], admins()),
                rule("/a/b", &[], Allow::Public),
                rule("/**", &[], Allow::SignedIn),
            ];
            let policy = policy(rules);
            let path = format!("/{}", pieces.concat());
            if let Ok(rule) = found(&policy, &Method::GET, &path) {
                for reading in readings(&path) {
                    let other = policy.apps()[0].rule_of(&reading, &Method::GET).map(|rule| rule.pattern.text.clone());
                    proptest::prop_assert_eq!(other.as_deref(), Ok(&rule[..]), "{} as {:?}", path, String::from_utf8_lossy(&reading));
                }
            }
        }

        #[test]
        fn routing_never_panics(path in "/[\\x21-\\x7e]{0,40}", host in "\\PC{0,20}") {
            let policy = policy(vec![rule("/a/*/**", &[], admins()), rule("/**", &[], Allow::SignedIn)]);
            if let Ok(target) = PathAndQuery::try_from(path.as_str()) {
                let _ = policy.route(&Asked { host: &host, target: &target, method: &Method::GET });
            }
        }
    }
}
