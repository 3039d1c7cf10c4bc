//! The rules of an app: path patterns, what they allow, and which of them a request falls under.

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;

use crate::index::Index;
use crate::readings::Readings;
use crate::{
    AppId, Bindings, DenyReason, Facts, HeaderFault, IdentityHeaders, OrgId, Pattern, Principal,
    RulesVersion, Seq, folded,
};

/// The host, path and method that a request is routed by, as Accept read them.
#[derive(Clone, Copy, Debug)]
pub struct RouteKey<'a> {
    /// The `Host` field or `:authority`, with or without a port.
    pub host: &'a str,
    /// Path and query as sent.
    pub target: &'a PathAndQuery,
    /// The method.
    pub method: &'a Method,
}

/// The people whom a rule lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Everybody; nobody is asked who they are, and no identity goes up.
    Public,
    /// Every signed-in person.
    SignedIn,
    /// Everybody with any of these roles.
    Roles(Arc<[Arc<str>]>),
}

/// The fate of a stream whose person's identity headers change while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnChange {
    /// It is cut; the client reconnects with true headers.
    #[default]
    Cut,
    /// It runs on with the headers it had.
    Keep,
}

/// One rule: a pattern, perhaps methods, and whom it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The paths it is about.
    pub pattern: Pattern,
    /// The methods it is about; empty means all.
    pub methods: Vec<Method>,
    /// The people whom it lets in.
    pub allow: Allow,
    /// The fate of its streams when the person changes.
    pub on_change: OnChange,
    /// The name of the upstream that its requests go to; `None` is the app's own.
    pub upstream: Option<Arc<str>>,
}

/// Two rules that cannot both be meant, by their patterns.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" and \"{1}\" {2}, but differ in what they allow, or in where they lead")]
pub struct RuleError(pub String, pub String, pub Clash);

/// The way in which two rules come to decide on the same requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// They match the same paths and methods.
    #[error("match the same paths and methods")]
    Same,
    /// They do for an application that does not tell upper from lower case, nor the slashes, dots and blanks at the end
    /// of a path or segment.
    #[error("differ only in case, or at the end of the path or a segment")]
    Folded,
}

/// An app: its names, its own pages and its rules.
#[derive(Clone, Debug)]
pub struct App {
    /// Its id.
    pub id: AppId,
    /// The organization whose people may use it.
    pub org: OrgId,
    /// The host of `public_url`, lower case, without a port.
    pub host: String,
    /// The path of `public_url` without its final slash; empty for the root.
    pub base: String,
    /// The path of our own pages, below `base`: `/.portcullis`.
    pub prefix: String,
    own: String,
    own_folded: Vec<u8>,
    /// By the patterns as they are written.
    rules: Index,
    /// By the patterns folded.
    folded: Index,
    routed: bool,
    /// By the name of an upstream, `None` for the app's own: those that see another path than the one that was sent.
    paths: Vec<(Option<Arc<str>>, UpstreamPath)>,
}

/// The path by which an upstream knows what is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamPath {
    /// What is taken from the front of the path that was sent; without a slash at its end, empty for nothing.
    pub strip: String,
    /// What is put before the rest; without a slash at its end, empty for nothing.
    pub base: String,
}

impl UpstreamPath {
    /// Tells whether it is the path that was sent.
    pub fn is_as_sent(&self) -> bool {
        self.strip.is_empty() && self.base.is_empty()
    }

    /// Finds what stands behind the part that is taken off, byte for byte; `None` for a path that is not below it.
    fn rest_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let rest = path.strip_prefix(&self.strip)?;
        match rest {
            "" => Some("/"),
            rest if rest.starts_with('/') => Some(rest),
            _ => None,
        }
    }

    /// Makes the target that the upstream sees; `None` for a path that is not below what is taken off.
    pub fn seen_target(&self, target: &PathAndQuery) -> Option<PathAndQuery> {
        let rest = self.rest_of(target.path())?;
        let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}{rest}{query}", self.base).parse().ok()
    }
}

impl App {
    /// Joins an app and its rules; without rules the whole site is for whoever is signed in.
    ///
    /// # Errors
    /// [`RuleError`] where two rules match the same and differ, be it only in what is folded.
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
            rules.push(Arc::new(Rule {
                pattern: Pattern::everything(),
                methods: Vec::new(),
                allow: Allow::SignedIn,
                on_change: OnChange::Cut,
                upstream: None,
            }));
        }
        let folded: Vec<Pattern> = rules.iter().map(|rule| rule.pattern.folded()).collect();
        for (at, rule) in rules.iter().enumerate() {
            let clash = |(other, other_folded): (&Arc<Rule>, &Pattern)| {
                let how = rule.clash_with(&folded[at], other, other_folded)?;
                Some((other.pattern.as_written().to_owned(), how))
            };
            if let Some((other, how)) = rules.iter().zip(&folded).skip(at + 1).find_map(clash) {
                return Err(RuleError(rule.pattern.as_written().to_owned(), other, how));
            }
        }
        let base = base.trim_end_matches('/').to_owned();
        let own = format!("{base}{prefix}");
        Ok(Self {
            id,
            org,
            host: host.to_ascii_lowercase(),
            base,
            prefix: prefix.into(),
            own_folded: folded::fold_path(own.as_bytes()).into_owned(),
            own,
            folded: Index::new(&rules, folded),
            rules: Index::new(&rules, rules.iter().map(|rule| rule.pattern.clone())),
            routed,
            paths: Vec::new(),
        })
    }

    /// Says of an upstream, `None` for the app's own, by which path it knows what is asked for.
    #[must_use]
    pub fn with_path(mut self, upstream: Option<&str>, path: UpstreamPath) -> Self {
        if !path.is_as_sent() {
            self.paths.push((upstream.map(Arc::from), path));
        }
        self
    }

    /// Tells whether this is its host, compared folded; a port is not compared, a trailing dot is another name.
    fn answers_to(&self, host: &str) -> bool {
        let name = if let Some(end) = host.strip_prefix('[').and_then(|rest| rest.find(']')) {
            &host[..end + 2]
        } else {
            &host[..host.bytes().position(|byte| byte == b':').unwrap_or(host.len())]
        };
        let port = &host[name.len()..];
        let well_formed = port.is_empty() || port.strip_prefix(':').is_some_and(|p| p.parse::<u16>().is_ok());
        well_formed && name.eq_ignore_ascii_case(&self.host)
    }

    /// Finds what a path below its base falls under, in every reading.
    fn find_site(&self, path: &str, method: &Method) -> Result<Route<'_>, DenyReason> {
        let readings = Readings::of_path(path);
        if !self.routed {
            // One rule is for all, however a path is read.
            if readings.is_ok_and(|readings| readings.iter().any(|reading| self.is_own(reading))) {
                return Err(DenyReason::NoRoute);
            }
            let (rule, mut others) = (self.rules.find_rule(b"/", method)?, Vec::new());
            self.add_seen(path, method, rule, &mut others)?;
            return Ok(Route::Site { app: self, rule, others });
        }
        let readings = readings.map_err(|_| DenyReason::AmbiguousPath)?;
        let (mut as_sent, mut others) = (None::<&Arc<Rule>>, Vec::<&Arc<Rule>>::new());
        for reading in readings.iter() {
            if self.is_own(reading) || !is_below(reading, self.base.as_bytes()) {
                return Err(DenyReason::NoRoute);
            }
            let folded = folded::fold_path(reading);
            for found in [self.rules.find_rule(reading, method), self.folded.find_rule(&folded, method)] {
                let found = found?;
                let first = as_sent.get_or_insert(found);
                // Two upstreams read one path in two ways: neither gets it.
                if found.upstream != first.upstream {
                    return Err(DenyReason::NoRoute);
                }
                if found.allow != first.allow && !others.iter().any(|other| other.allow == found.allow) {
                    others.push(found);
                }
            }
        }
        let rule = as_sent.ok_or(DenyReason::NoRoute)?;
        self.add_seen(path, method, rule, &mut others)?;
        Ok(Route::Site { app: self, rule, others })
    }

    /// Adds what the path falls under as the upstream sees it, where that is another one: its readings are not those of the
    /// path that was sent. One that climbs is nobody's, for it would leave what is taken off, or what is put before.
    fn add_seen<'a>(
        &'a self,
        path: &str,
        method: &Method,
        rule: &'a Arc<Rule>,
        others: &mut Vec<&'a Arc<Rule>>,
    ) -> Result<(), DenyReason> {
        let Some((_, seen)) = self.paths.iter().find(|(upstream, _)| *upstream == rule.upstream) else {
            return Ok(());
        };
        let rest = seen.rest_of(path).ok_or(DenyReason::NoRoute)?;
        let readings = Readings::of_path(rest).map_err(|_| DenyReason::AmbiguousPath)?;
        for reading in readings.iter() {
            if reading.split(|byte| *byte == b'/').any(|segment| matches!(segment, b"." | b"..")) {
                return Err(DenyReason::NoRoute);
            }
            let whole = [seen.strip.as_bytes(), reading].concat();
            let folded = folded::fold_path(&whole);
            for found in [self.rules.find_rule(&whole, method), self.folded.find_rule(&folded, method)] {
                let found = found?;
                if found.upstream != rule.upstream {
                    return Err(DenyReason::NoRoute);
                }
                if found.allow != rule.allow && !others.iter().any(|other| other.allow == found.allow) {
                    others.push(found);
                }
            }
        }
        Ok(())
    }

    /// Tells whether a reading falls under our own prefix, as it is or folded.
    fn is_own(&self, reading: &[u8]) -> bool {
        // Nearly every path is seen at once to begin otherwise.
        let begins_elsewhere = match (reading.get(1), self.own_folded.get(1)) {
            (Some(one), Some(own)) => one.is_ascii() && own.is_ascii() && one.to_ascii_lowercase() != *own,
            _ => false,
        };
        !begins_elsewhere
            && (is_below(reading, self.own.as_bytes())
                || is_below(&folded::fold_path(reading), &self.own_folded))
    }

    /// The methods that the rules of a path take, in their order; for `Allow` where another was asked for.
    pub fn methods_at(&self, path: &str) -> Vec<&Method> {
        let Ok(readings) = Readings::of_path(path) else { return Vec::new() };
        let ruled: Vec<Vec<&Arc<Rule>>> = readings
            .iter()
            .flat_map(|reading| {
                [self.rules.deciding_rules(reading), self.folded.deciding_rules(&folded::fold_path(reading))]
            })
            .collect();
        let takes = |rule: &&Arc<Rule>, method| rule.methods.is_empty() || rule.methods.contains(method);
        let mut methods: Vec<&Method> = Vec::new();
        for method in ruled.iter().flatten().flat_map(|rule| &rule.methods) {
            let by_all = ruled.iter().all(|rules| rules.iter().any(|rule| takes(rule, method)));
            if by_all && !methods.contains(&method) {
                methods.push(method);
            }
        }
        methods
    }
}

/// Tells whether a path is this one or below it.
fn is_below(path: &[u8], top: &[u8]) -> bool {
    path.strip_prefix(top).is_some_and(|rest| matches!(rest, [] | [b'/', ..]))
}

impl Rule {
    /// Finds how it contradicts another rule. Folded, methods are no excuse: `/Admin` for GET and `/admin` for all is
    /// one page to an application that folds.
    fn clash_with(&self, folded: &Pattern, other: &Rule, other_folded: &Pattern) -> Option<Clash> {
        let same = |one: &Pattern, other: &Pattern| one.rank() == other.rank() && one.overlaps(other);
        let shared = |method| other.methods.contains(method);
        let (one_for_all, other_for_all) = (self.methods.is_empty(), other.methods.is_empty());
        let methods_meet = one_for_all || other_for_all || self.methods.iter().any(shared);
        let elsewhere = self.upstream != other.upstream;
        let differ = self.allow != other.allow || self.on_change != other.on_change || elsewhere;
        if same(&self.pattern, &other.pattern) {
            let equal = one_for_all == other_for_all && methods_meet;
            return (equal && differ).then_some(Clash::Same);
        }
        let is_same_folded = || same(folded, other_folded);
        ((self.allow != other.allow || elsewhere) && methods_meet && is_same_folded())
            .then_some(Clash::Folded)
    }
}

/// The rule or the own page that a request falls under.
#[derive(Clone, Debug)]
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
        /// The rule of the path as sent.
        rule: &'p Arc<Rule>,
        /// The rules that other readings of the path fall under, those alone that allow something else. Every one has
        /// to let a request in.
        others: Vec<&'p Arc<Rule>>,
    },
}

impl<'p> Route<'p> {
    /// The app.
    pub fn app(&self) -> &'p App {
        match self {
            Self::Ours { app } | Self::Site { app, .. } => app,
        }
    }

    /// Tells whether Identify has to look who is there.
    pub fn asks_who(&self) -> bool {
        self.rules().any(|rule| rule.allow != Allow::Public)
    }

    /// The rules that have to let a request in, that of the path as sent first.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &'p Arc<Rule>> {
        let (rule, others) = match self {
            Self::Ours { .. } => (None, &[][..]),
            Self::Site { rule, others, .. } => (Some(*rule), &others[..]),
        };
        rule.into_iter().chain(others.iter().copied())
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
    pub fn rules_version(&self) -> RulesVersion {
        self.version
    }

    /// The names of the upstreams that rules of an app lead to, beside its own.
    pub fn upstreams_of<'a>(&'a self, app: &'a App) -> impl Iterator<Item = &'a Arc<str>> {
        app.rules.all_rules().filter_map(|rule| rule.upstream.as_ref())
    }

    /// The apps.
    pub fn apps(&self) -> &[App] {
        &self.apps
    }

    /// The role bindings.
    pub fn bindings(&self) -> &Bindings {
        &self.bindings
    }

    /// The content of the identity headers.
    pub fn identity(&self) -> &IdentityHeaders {
        &self.identity
    }

    /// The app of a host and the rule of the path, or one of our own pages.
    ///
    /// # Errors
    /// `UnknownHost` for a name that is nobody's, `NoRoute` and `Method` where no rule takes the request,
    /// `AmbiguousPath` where rules exist and nobody should have to read the path.
    pub fn find_route(&self, asked: &RouteKey<'_>) -> Result<Route<'_>, DenyReason> {
        let app = self.apps.iter().find(|app| app.answers_to(asked.host)).ok_or(DenyReason::UnknownHost)?;
        self.of_app(app, asked.target.path(), asked.method)
    }

    /// Finds what a path of an app falls under: a rule, or our own pages.
    pub(crate) fn of_app<'p>(
        &self,
        app: &'p App,
        path: &str,
        method: &Method,
    ) -> Result<Route<'p>, DenyReason> {
        let sent = path.as_bytes();
        if is_below(sent, app.own.as_bytes()) {
            return Ok(Route::Ours { app });
        }
        if !sent.starts_with(b"/") || !is_below(sent, app.base.as_bytes()) {
            return Err(DenyReason::NoRoute);
        }
        app.find_site(path, method)
    }

    /// The app with this id.
    pub fn find_app(&self, id: AppId) -> Option<&App> {
        self.apps.iter().find(|app| app.id == id)
    }

    /// Resolves the facts of a person under this configuration.
    ///
    /// # Errors
    /// [`HeaderFault`] where nothing could be said of the person to the application.
    pub fn describe_person(&self, facts: &Arc<Facts>, at: Seq) -> Result<Principal, HeaderFault> {
        let name = self.identity.user.name_of(facts)?;
        let roles = self.bindings.resolve(facts).roles;
        let headers = self.identity.prepare(&name, facts, &roles)?;
        Ok(Principal { facts: facts.clone(), at, rules: self.version, name, roles, headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(path: &str, methods: &[Method], allow: Allow) -> Rule {
        Rule {
            pattern: Pattern::parse_path(path).unwrap(),
            methods: methods.into(),
            allow,
            on_change: OnChange::Cut,
            upstream: None,
        }
    }

    fn admins() -> Allow {
        Allow::Roles(Arc::new(["admin".into()]))
    }

    fn policy(rules: Vec<Rule>) -> Policy {
        let app = App::new(AppId::ONLY, OrgId::ONLY, "Wiki.example.com", "", "/.portcullis", rules).unwrap();
        let identity = IdentityHeaders::x_forwarded(crate::UserFrom::UserName);
        Policy::new(RulesVersion(1), vec![app], Bindings::default(), identity)
    }

    fn found(policy: &Policy, method: &Method, path: &str) -> Result<String, DenyReason> {
        let target = PathAndQuery::try_from(path).unwrap();
        Ok(match policy.find_route(&RouteKey { host: "wiki.example.com", target: &target, method })? {
            Route::Ours { .. } => "ours".into(),
            Route::Site { rule, .. } => rule.pattern.as_written().to_owned(),
        })
    }

    #[test]
    fn a_path_that_two_upstreams_could_read_as_their_own_is_nobodys() {
        let to = |path: &str, upstream: Option<&str>| Rule {
            upstream: upstream.map(Arc::from),
            ..rule(path, &[], Allow::SignedIn)
        };
        let policy = policy(vec![to("/reports/**", Some("reports")), to("/**", None)]);
        let leads = |path: &str| {
            let target = PathAndQuery::try_from(path).unwrap();
            let key = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
            match policy.find_route(&key)? {
                Route::Site { rule, .. } => Ok(rule.upstream.as_deref().map(str::to_owned)),
                Route::Ours { .. } => unreachable!(),
            }
        };
        assert_eq!(leads("/reports/a"), Ok(Some("reports".to_owned())));
        assert_eq!(leads("/reports/a%20b;x=1"), Ok(Some("reports".to_owned())));
        assert_eq!(leads("/report"), Ok(None));
        for path in
            ["/reports/../a", "/a/../reports/x", "/%72eports/a", "/reports%2fa", "/REPORTS/a", "//reports/a"]
        {
            assert_eq!(leads(path), Err(DenyReason::NoRoute), "{path}");
        }
        let clash = |one: &str, other: &str| {
            let rules = vec![to(one, Some("reports")), to(other, None)];
            App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).err().map(|error| error.2)
        };
        assert_eq!(clash("/a", "/a"), Some(Clash::Same));
        assert_eq!(clash("/a", "/A"), Some(Clash::Folded));
        assert_eq!(clash("/a", "/b"), None);
    }

    #[test]
    fn what_an_upstream_sees_is_decided_too() {
        let to =
            |path: &str, allow: Allow| Rule { upstream: Some("reports".into()), ..rule(path, &[], allow) };
        let rules = vec![
            to("/reports/admin/**", admins()),
            to("/reports/**", Allow::SignedIn),
            to("/legacy/**", Allow::SignedIn),
            rule("/**", &[], Allow::SignedIn),
        ];
        let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.example.com", "", "/.portcullis", rules).unwrap();
        let strip = UpstreamPath { strip: "/reports".into(), base: "/app".into() };
        let app = app.with_path(Some("reports"), strip.clone());
        let identity = IdentityHeaders::x_forwarded(crate::UserFrom::UserName);
        let policy = Policy::new(RulesVersion(1), vec![app], Bindings::default(), identity);
        let asks = |path: &str| {
            let target = PathAndQuery::try_from(path).unwrap();
            let key = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
            Ok::<_, DenyReason>(
                policy.find_route(&key)?.rules().map(|rule| rule.allow.clone()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(asks("/reports"), Ok(vec![Allow::SignedIn]));
        assert_eq!(asks("/reports/a"), Ok(vec![Allow::SignedIn]));
        assert_eq!(asks("/reports/admin/x"), Ok(vec![admins()]));
        // Read by the application, these are the guarded page; read as sent they are not.
        for path in
            ["/reports//evil/admin/x", "/reports/%61dmin/x", "/reports/admin;a/x", "/reports//admin/x"]
        {
            assert!(asks(path).unwrap().contains(&admins()), "{path}");
        }
        for path in [
            "/reports/../admin/x",
            "/reports/a/../../admin/x",
            "/reports/a/../../reports/admin/x",
            "/reports/%2e%2e/manager",
            "/reports/..;/manager",
            "/reports/./a",
            // Not below what is taken off, as it was sent: nobody knows what the application would be told.
            "/legacy/a",
            "/reports%2fa",
            "/%72eports/a",
            "/reports;x/a",
            "/reports\\a",
        ] {
            assert!(asks(path).is_err(), "{path}");
        }
        assert_eq!(asks("/other/../a"), Ok(vec![Allow::SignedIn]), "the app's own sees what was sent");
        for (path, seen) in [
            ("/reports", Some("/app/")),
            ("/reports/", Some("/app/")),
            ("/reports/a%2Fb?q=/reports", Some("/app/a%2Fb?q=/reports")),
            ("/reports?a", Some("/app/?a")),
            ("/reportsx", None),
        ] {
            let target = strip.seen_target(&PathAndQuery::try_from(path).unwrap());
            assert_eq!(target.as_ref().map(PathAndQuery::as_str), seen, "{path}");
        }
    }

    #[test]
    fn a_host_is_compared_folded_and_its_dot_counts() {
        let policy = policy(vec![]);
        let target = PathAndQuery::from_static("/");
        let answers =
            |host| policy.find_route(&RouteKey { host, target: &target, method: &Method::GET }).is_ok();
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

    /// All rules that a path falls under, each by its pattern; of those that allow the same, the first.
    fn all(policy: &Policy, path: &str) -> Result<Vec<String>, DenyReason> {
        let target = PathAndQuery::try_from(path).unwrap();
        let asked = RouteKey { host: "wiki.example.com", target: &target, method: &Method::GET };
        Ok(policy.find_route(&asked)?.rules().map(|rule| rule.pattern.as_written().to_owned()).collect())
    }

    #[test]
    fn another_spelling_does_not_walk_past_a_rule() {
        let policy = policy(vec![rule("/admin/**", &[], Allow::SignedIn), rule("/**", &[], Allow::Public)]);
        assert_eq!(all(&policy, "/admin/x").unwrap(), ["/admin/**"]);
        for path in [
            "/%61dmin/x",
            "/admi%6E/x",
            "/admin%2Fx",
            "/x/..%2fadmin",
            "/admin%3Bx",
            "/%2561dmin",
            "/admin;x/y",
            "/.\\admin",
            "/./admin",
            "//admin/x",
            "//host/admin/x",
            "/\\host\\admin",
            "/Admin/x",
            "/ADMIN.",
            "/admin%20/x",
            "/%41dmin%2e/x",
            "/admin%3Fx",
            "/admin%23",
            "/x/..;/admin",
            "/x;/%2e%2e/admin",
        ] {
            assert_eq!(all(&policy, path).unwrap(), ["/**", "/admin/**"], "{path}");
        }
        for path in ["/%C1%A1dmin/x", "/%", "/%u0061dmin", "/%00", "/admin%0a", "/%2500"] {
            assert_eq!(all(&policy, path), Err(DenyReason::AmbiguousPath), "{path}");
        }
        assert_eq!(all(&policy, "/a/../admin/x").unwrap(), ["/**", "/admin/**"]);
        assert_eq!(all(&policy, "/admin/../x").unwrap(), ["/admin/**", "/**"]);
        assert_eq!(all(&policy, "/x?y=%2F;//..%61").unwrap(), ["/**"], "a query is the application's");
    }

    #[test]
    fn a_path_whose_readings_agree_has_one_rule() {
        let policy = policy(vec![
            rule("/api/**", &[], admins()),
            rule("/shop/**", &[], Allow::Public),
            rule("/**", &[], Allow::SignedIn),
        ]);
        for (path, rule) in [
            ("/api/projects/group%2Fproject/issues", "/api/**"),
            ("/api/100%25", "/api/**"),
            ("/api//x/./y/../z", "/api/**"),
            ("/shop/cart;jsessionid=01", "/shop/**"),
            ("/shop/%61%20b\\c", "/shop/**"),
            ("/Wiki/Talk:%C3%84/", "/**"),
            ("/a/%252F", "/**"),
        ] {
            assert_eq!(all(&policy, path).unwrap(), [rule], "{path}");
        }
        assert_eq!(all(&policy, "/shop;x").unwrap(), ["/**", "/shop/**"]);
        assert_eq!(all(&policy, "/shop/..%2Fapi").unwrap(), ["/shop/**", "/api/**"]);
    }

    #[test]
    fn a_reading_without_a_rule_or_a_method_refuses() {
        let rules =
            vec![rule("/open/**", &[], Allow::Public), rule("/open/form", &[Method::POST], Allow::Public)];
        let policy = policy(rules);
        assert_eq!(all(&policy, "/open/%61").unwrap(), ["/open/**"]);
        assert_eq!(all(&policy, "/open/../other"), Err(DenyReason::NoRoute));
        assert_eq!(all(&policy, "/open/..;/.."), Err(DenyReason::NoRoute));
        assert_eq!(all(&policy, "/open/f%6Frm"), Err(DenyReason::Method));
        assert_eq!(all(&policy, "/open/Form"), Err(DenyReason::Method));
        assert_eq!(found(&policy, &Method::POST, "/open/f%6Frm"), Ok("/open/**".into()));
        assert_eq!(policy.apps()[0].methods_at("/open/f%6Frm"), [&Method::POST]);
    }

    #[test]
    fn our_own_prefix_is_ours_only_as_it_is_written() {
        let with = policy(vec![rule("/**", &[], Allow::Public)]);
        for policy in [&with, &policy(vec![])] {
            for path in [
                "/%2eportcullis/login",
                "//.portcullis",
                "/x/../.portcullis/me",
                "/.portcullis;x",
                "/.Portcullis/login",
                "/.portcullis%2Flogin",
                "/.%70ortcullis",
                "/.portcullis./x",
                "/.portcullis%20",
            ] {
                assert_eq!(all(policy, path), Err(DenyReason::NoRoute), "{path}");
            }
            assert_eq!(found(policy, &Method::GET, "/.portcullis/../x"), Ok("ours".into()));
            assert_eq!(all(policy, "/.portcullisx/%2e").unwrap(), ["/**"]);
        }
    }

    #[test]
    fn every_reading_stays_below_the_base() {
        let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "/wiki", "/.portcullis", rules).unwrap();
        let all = |rules, path: &str| {
            let app = made(rules);
            app.find_site(path, &Method::GET).map(|route| route.rules().count())
        };
        let whole = || vec![rule("/**", &[], Allow::SignedIn)];
        assert_eq!(all(whole(), "/wiki/a/../%62").unwrap(), 1);
        assert_eq!(all(whole(), "/wiki/../b").err(), Some(DenyReason::NoRoute));
        assert_eq!(all(whole(), "/wiki/%2e%2e/wiki/b").unwrap(), 1);
        assert_eq!(all(vec![], "/wiki/../b").unwrap(), 1, "without routes only our own prefix is looked for");
        assert_eq!(all(vec![], "/wiki/x/../.portcullis").err(), Some(DenyReason::NoRoute));
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
        assert_eq!(all(&policy, "/R%C3%84UME").unwrap(), ["/**", "/räume/**"]);
        assert_eq!(found(&policy, &Method::PUT, "/my%20files/a"), Err(DenyReason::Method));
        assert_eq!(found(&policy, &Method::PUT, "/%6Dy%20files/a"), Err(DenyReason::Method));
        assert_eq!(policy.apps()[0].methods_at("/my%20files/a"), [&Method::GET]);
        assert_eq!(policy.apps()[0].methods_at("/%6Dy%20files/a"), [&Method::GET]);
        assert_eq!(policy.apps()[0].methods_at("/my%20files/%zz"), Vec::<&Method>::new());
    }

    #[test]
    fn an_encoded_question_mark_is_read_both_ways() {
        let policy = policy(vec![rule("/wiki/**", &[], admins()), rule("/wiki/About", &[], Allow::Public)]);
        assert_eq!(all(&policy, "/wiki/What%3F").unwrap(), ["/wiki/**"]);
        assert_eq!(all(&policy, "/wiki/C%23/edit").unwrap(), ["/wiki/**"]);
        assert_eq!(all(&policy, "/wiki/About%3Fx").unwrap(), ["/wiki/**", "/wiki/About"]);
        assert_eq!(all(&policy, "/wiki/About%23").unwrap(), ["/wiki/**", "/wiki/About"]);
    }

    #[test]
    fn routes_that_match_nothing_refuse() {
        let policy = policy(vec![rule("/only", &[], Allow::SignedIn)]);
        assert_eq!(found(&policy, &Method::GET, "/other"), Err(DenyReason::NoRoute));
        assert_eq!(found(&policy, &Method::GET, "/only/"), Err(DenyReason::NoRoute));
        assert_eq!(found(&policy, &Method::GET, "/Only"), Err(DenyReason::NoRoute));
        assert_eq!(found(&policy, &Method::GET, "*"), Err(DenyReason::NoRoute));
    }

    #[test]
    fn a_folded_rule_is_asked_beside_the_exact_one() {
        let policy = policy(vec![
            rule("/Help/Contact", &[], Allow::Public),
            rule("/help/**", &[], Allow::SignedIn),
            rule("/Keys/", &[], admins()),
            rule("/**", &[], Allow::Public),
        ]);
        assert_eq!(all(&policy, "/Help/Contact").unwrap(), ["/Help/Contact"]);
        assert_eq!(all(&policy, "/help/contact").unwrap(), ["/help/**", "/Help/Contact"]);
        assert_eq!(all(&policy, "/HELP/x").unwrap(), ["/**", "/help/**"]);
        for path in ["/keys", "/KEYS.", "/Keys%20/", "/keys//", "/keys/."] {
            assert_eq!(all(&policy, path).unwrap(), ["/**", "/Keys/"], "{path}");
        }
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
    fn equals_that_differ_only_folded_are_an_error() {
        let made = |rules| App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules).map(drop);
        let clash = |one: &str, other: &str| {
            let found = made(vec![rule(one, &[], Allow::Public), rule(other, &[], Allow::SignedIn)]);
            assert!(made(vec![rule(one, &[], Allow::Public), rule(other, &[], Allow::Public)]).is_ok());
            found.err().map(|RuleError(_, _, how)| how)
        };
        for (one, other) in [
            ("/a", "/a/"),
            ("/a", "/A"),
            ("/a/**", "/A./**"),
            ("/a/*/x", "/a/*/X "),
            ("/ä/b", "/Ä/b"),
            ("/", "/ "),
        ] {
            assert_eq!(clash(one, other), Some(Clash::Folded), "{one} {other}");
        }
        assert_eq!(clash("/a/**", "/a/**"), Some(Clash::Same));
        for (one, other) in
            [("/a", "/b"), ("/a", "/a/**"), ("/a/*", "/a/"), ("/A/x", "/a/**"), ("/a/.x", "/a/x")]
        {
            assert_eq!(clash(one, other), None, "{one} {other}");
        }
        let methods = |one: &[Method], other: &[Method]| {
            made(vec![rule("/a", one, Allow::Public), rule("/A", other, Allow::SignedIn)]).is_ok()
        };
        assert!(methods(&[Method::GET], &[Method::PUT]));
        assert!(!methods(&[Method::GET], &[]), "one page to whoever folds");
        assert!(!methods(&[Method::GET, Method::PUT], &[Method::PUT]));
    }

    proptest::proptest! {
        #[test]
        fn routing_never_panics(path in "/[\\x21-\\x7e]{0,40}", host in "\\PC{0,20}") {
            let policy = policy(vec![rule("/a/*/**", &[], admins()), rule("/**", &[], Allow::SignedIn)]);
            if let Ok(target) = PathAndQuery::try_from(path.as_str()) {
                let _ = policy.find_route(&RouteKey { host: &host, target: &target, method: &Method::GET });
            }
        }
    }
}
