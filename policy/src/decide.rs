//! The decision about one request, and about an exchange that already runs.

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;

use crate::{Allow, AppId, OnChange, Policy, Principal, Route, Rule, RulesVersion};

/// Leave to forward. Only [`Policy::decide`] makes one; Forward cannot be called without it. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Pass(Arc<Leave>);

#[derive(Debug)]
struct Leave {
    app: AppId,
    /// The rule of the path as sent.
    rule: Arc<Rule>,
    /// Those of other readings that allow something else.
    others: Box<[Arc<Rule>]>,
    method: Method,
    target: PathAndQuery,
    version: RulesVersion,
}

impl Pass {
    /// The app it leads to.
    pub fn app(&self) -> AppId {
        self.0.app
    }

    /// The configuration it was decided under.
    pub fn rules_version(&self) -> RulesVersion {
        self.0.version
    }

    /// The rules that allowed it.
    fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        std::iter::once(&self.0.rule).chain(&self.0.others)
    }

    /// The pattern of the rule that the path as sent fell under, for the record.
    pub fn rule(&self) -> &str {
        self.0.rule.pattern.as_written()
    }

    /// Tells whether anybody may come, so that no identity goes up: every reading of the path is public.
    pub fn is_public(&self) -> bool {
        self.rules().all(|rule| rule.allow == Allow::Public)
    }

    /// The name of the upstream it leads to; `None` is the app's own. Every reading of the path leads there.
    pub fn upstream(&self) -> Option<&str> {
        self.0.rule.upstream.as_deref()
    }

    /// Names what happens to a stream under it when the person's headers change.
    pub fn on_change(&self) -> OnChange {
        self.0.rule.on_change
    }
}

/// The answer of policy to one request.
#[derive(Debug)]
#[must_use]
pub enum Decision {
    /// It may go up.
    Allow(Pass),
    /// Nobody is signed in.
    Login,
    /// It may not.
    Deny(DenyReason),
}

/// The reason why a request is refused, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum DenyReason {
    /// The host is no public name of ours.
    #[error("unknown_host")]
    UnknownHost,
    /// No rule matches the path, or a reading of it.
    #[error("no_route")]
    NoRoute,
    /// The rule of the path, or of a reading of it, does not take the method.
    #[error("method")]
    Method,
    /// The path cannot be read, or in too many ways.
    #[error("ambiguous_path")]
    AmbiguousPath,
    /// The person has none of the roles the rule asks for.
    #[error("role")]
    Role,
}

impl Policy {
    /// Tells whether the request may go up. Our own pages are nobody's to forward.
    pub fn decide(
        &self,
        route: &Route<'_>,
        who: Option<&Principal>,
        method: &Method,
        target: &PathAndQuery,
    ) -> Decision {
        let Route::Site { app, rule, others } = route else { return Decision::Deny(DenyReason::NoRoute) };
        match check_rules(route.rules(), who) {
            Ok(()) => Decision::Allow(Pass(Arc::new(Leave {
                app: app.id,
                rule: Arc::clone(rule),
                others: others.iter().copied().cloned().collect(),
                method: method.clone(),
                target: target.clone(),
                version: self.rules_version(),
            }))),
            Err(RuleDenial::Nobody) => Decision::Login,
            Err(RuleDenial::Role) => Decision::Deny(DenyReason::Role),
        }
    }

    /// Tells whether an exchange may go on under this configuration and this description of the person. False too
    /// when the rule of its path is gone or says something else now.
    pub fn still_allows(&self, pass: &Pass, who: &Principal) -> bool {
        if pass.0.version == self.rules_version() {
            return check_rules(pass.rules(), Some(who)).is_ok();
        }
        self.route_of(pass).is_some_and(|route| {
            let is_the_same = matches!(&route, Route::Site { rule, .. } if **rule == pass.0.rule);
            is_the_same && check_rules(route.rules(), Some(who)).is_ok()
        })
    }

    /// Tells whether an exchange of nobody may go on under this configuration: what its path falls under now is
    /// public too. Which public rule that is makes no difference to it, for nothing of its person went up.
    pub fn still_public(&self, pass: &Pass) -> bool {
        if pass.0.version >= self.rules_version() {
            return pass.is_public();
        }
        self.route_of(pass).is_some_and(|route| !route.asks_who())
    }

    /// Finds what the path of a pass falls under now, where that is the application's site.
    fn route_of(&self, Pass(pass): &Pass) -> Option<Route<'_>> {
        let route = self.of_app(self.find_app(pass.app)?, pass.target.path(), &pass.method).ok()?;
        matches!(route, Route::Site { .. }).then_some(route)
    }
}

impl<'p> Route<'p> {
    /// The first rule that does not let this person in.
    pub fn refusing_rule(&self, who: &Principal) -> Option<&'p Arc<Rule>> {
        self.rules().find(|rule| check_rules(std::iter::once(*rule), Some(who)).is_err())
    }
}

enum RuleDenial {
    Nobody,
    Role,
}

/// Tells whether every one of the rules lets them in.
fn check_rules<'r>(
    mut rules: impl Iterator<Item = &'r Arc<Rule>>,
    who: Option<&Principal>,
) -> Result<(), RuleDenial> {
    rules.try_for_each(|rule| match (&rule.allow, who) {
        (Allow::Public, _) | (Allow::SignedIn, Some(_)) => Ok(()),
        (Allow::Roles(wanted), Some(who)) if who.roles().any_of(wanted) => Ok(()),
        (Allow::Roles(_), Some(_)) => Err(RuleDenial::Role),
        (Allow::SignedIn | Allow::Roles(_), None) => Err(RuleDenial::Nobody),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountId, App, Attributes, Bindings, Facts, GroupBinding, IdentityHeaders, OrgId, Pattern, RouteKey,
        Seq, UserFrom,
    };

    fn policy(version: u64, rules: &[(&str, Allow)]) -> Policy {
        let rules = rules.iter().map(|(path, allow)| Rule {
            pattern: Pattern::parse_path(path).unwrap(),
            methods: vec![],
            allow: allow.clone(),
            on_change: OnChange::Cut,
            upstream: None,
        });
        let app = App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules.collect()).unwrap();
        let owners = [GroupBinding { group: "Owners".into(), role: "admin".into() }];
        let bindings = Bindings::new(&["admin".into()], &[], &owners).unwrap();
        Policy::new(
            RulesVersion(version),
            vec![app],
            bindings,
            IdentityHeaders::x_forwarded(UserFrom::UserName),
        )
    }

    fn person(policy: &Policy, groups: &[&str]) -> Principal {
        let facts = Facts {
            account: AccountId(1),
            org: OrgId::ONLY,
            stable_id: "alice".into(),
            user_name: Some("alice".into()),
            id: None,
            external_id: None,
            subject: None,
            email: None,
            attributes: Attributes::default(),
            groups: groups.iter().map(|g| Arc::from(*g)).collect(),
        };
        policy.describe_person(&Arc::new(facts), Seq(1)).unwrap()
    }

    fn ask(policy: &Policy, path: &str, who: Option<&Principal>) -> Decision {
        let target = PathAndQuery::try_from(path).unwrap();
        let route =
            policy.find_route(&RouteKey { host: "h", target: &target, method: &Method::GET }).unwrap();
        policy.decide(&route, who, &Method::GET, &target)
    }

    fn admins() -> Allow {
        Allow::Roles(Arc::new(["admin".into()]))
    }

    #[test]
    fn who_asks_decides() {
        let policy =
            policy(1, &[("/**", Allow::SignedIn), ("/admin/**", admins()), ("/open", Allow::Public)]);
        let (plain, owner) = (person(&policy, &[]), person(&policy, &["owners"]));
        assert!(matches!(ask(&policy, "/", None), Decision::Login));
        assert!(matches!(ask(&policy, "/", Some(&plain)), Decision::Allow(_)));
        assert!(matches!(ask(&policy, "/admin", None), Decision::Login));
        assert!(matches!(ask(&policy, "/admin", Some(&plain)), Decision::Deny(DenyReason::Role)));
        assert!(matches!(ask(&policy, "/admin", Some(&owner)), Decision::Allow(_)));
        assert!(matches!(ask(&policy, "/open", None), Decision::Allow(_)));
        assert!(matches!(ask(&policy, "/.portcullis/me", Some(&owner)), Decision::Deny(_)));
    }

    #[test]
    fn a_pass_outlives_a_reload_only_where_its_path_is_ruled_alike() {
        let before = policy(1, &[("/**", Allow::SignedIn)]);
        let who = person(&before, &[]);
        let Decision::Allow(pass) = ask(&before, "/feed/live", Some(&who)) else { panic!("refused") };
        let after = |rules: &[(&str, Allow)]| {
            let after = policy(2, rules);
            after.still_allows(&pass, &person(&after, &[]))
        };
        assert!(before.still_allows(&pass, &who));
        assert!(after(&[("/**", Allow::SignedIn), ("/other", admins())]));
        assert!(!after(&[("/**", admins())]), "the rule says something else");
        assert!(!after(&[("/**", Allow::SignedIn), ("/feed/**", admins())]), "a narrower rule came");
        assert!(!after(&[("/other", Allow::SignedIn)]), "the rule is gone");
    }

    #[test]
    fn a_strangers_pass_outlives_a_reload_only_where_its_path_is_public() {
        let before = policy(1, &[("/pub/**", Allow::Public), ("/**", Allow::SignedIn)]);
        let Decision::Allow(pass) = ask(&before, "/pub/live", None) else { panic!("refused") };
        let after = |rules: &[(&str, Allow)]| policy(2, rules).still_public(&pass);
        assert!(before.still_public(&pass));
        assert!(after(&[("/pub/**", Allow::Public)]));
        assert!(after(&[("/**", Allow::Public)]), "another rule, as public");
        assert!(!after(&[("/**", Allow::SignedIn)]), "the rule is gone, a wider one asks");
        assert!(!after(&[("/pub/**", Allow::Public), ("/pub/live", admins())]), "a narrower rule came");
        assert!(!after(&[("/other", Allow::Public)]), "no rule is left");
        let Decision::Allow(named) = ask(&before, "/x", Some(&person(&before, &[]))) else {
            panic!("refused")
        };
        assert!(!before.still_public(&named), "a pass with a person is nobody's");
    }
}
