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
mod tests;
