//! What the tests of this crate share: a policy of one app, people, and rows as the store would read them.
#![allow(dead_code, unreachable_pub, reason = "each test binary takes a part of it")]

use std::sync::Arc;

use http::Method;
use http::uri::PathAndQuery;
use portcullis_policy::{
    AccountId, Allow, App, AppId, Attributes, Bindings, Decision, DirectoryId, Facts, Generation,
    GroupBinding, IdentityHeaders, OnChange, OrgId, Pass, Pattern, Policy, Principal, ResourceId, RouteKey,
    Rule, RulesVersion, Seq, SessionHash, Timestamp, UserFrom,
};
use portcullis_session::{Described, DirectoryUser, SessionSnapshot, StoredSession};

pub const ALICE: AccountId = AccountId(1);
pub const NOW: Timestamp = Timestamp(1_000_000);
pub const IDLE_MS: i64 = 60_000;
pub const HASH: SessionHash = SessionHash([7; 32]);

/// Everybody signed in may read; `/admin` is for admins, who are the members of Owners.
pub fn policy(version: u64) -> Arc<Policy> {
    policy_of(version, &[("/**", Allow::SignedIn), ("/admin/**", Allow::Roles(Arc::new(["admin".into()])))])
}

pub fn policy_of(version: u64, rules: &[(&str, Allow)]) -> Arc<Policy> {
    let rules = rules.iter().map(|(path, allow)| Rule {
        pattern: Pattern::parse_path(path).unwrap(),
        methods: vec![],
        allow: allow.clone(),
        on_change: OnChange::Cut,
        upstream: None,
    });
    let app = App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", rules.collect()).unwrap();
    let bind = [GroupBinding { group: "Owners".into(), role: "admin".into() }];
    let bindings = Bindings::new(&["admin".into()], &[], &bind).unwrap();
    Arc::new(Policy::new(
        RulesVersion(version),
        vec![app],
        bindings,
        IdentityHeaders::x_forwarded(UserFrom::UserName),
    ))
}

/// `/pub` is for everybody, the rest for whoever is signed in.
pub fn half_public(version: u64) -> Arc<Policy> {
    policy_of(version, &[("/pub/**", Allow::Public), ("/**", Allow::SignedIn)])
}

pub fn decide(policy: &Policy, path: &str, who: &Principal) -> Option<Pass> {
    decide_for(policy, path, Some(who))
}

pub fn decide_for(policy: &Policy, path: &str, who: Option<&Principal>) -> Option<Pass> {
    let target = PathAndQuery::try_from(path).unwrap();
    let route = policy.find_route(&RouteKey { host: "h", target: &target, method: &Method::GET }).ok()?;
    match policy.decide(&route, who, &Method::GET, &target) {
        Decision::Allow(pass) => Some(pass),
        Decision::Login | Decision::Deny(_) => None,
    }
}

pub fn subject(account: AccountId) -> DirectoryUser {
    (DirectoryId::ONLY, ResourceId::new(&format!("user-{}", account.0)))
}

/// An account as one read transaction sees it.
pub fn described(account: AccountId, at: i64, generation: i64, active: bool, groups: &[&str]) -> Described {
    let facts = Facts {
        account,
        org: OrgId::ONLY,
        stable_id: "user-1".into(),
        user_name: Some("alice".into()),
        id: Some("user-1".into()),
        external_id: None,
        subject: None,
        email: None,
        attributes: Attributes::default(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    };
    let (at, generation) = (Seq(at), Generation(generation));
    Described { at, facts: Arc::new(facts), generation, active, resource: Some(subject(account)) }
}

/// A session as one read transaction sees it, with its account.
pub fn stored(described: Described, hash: SessionHash, born: i64, ended: bool) -> SessionSnapshot {
    let session = StoredSession {
        hash,
        app: AppId::ONLY,
        idp: "okta".into(),
        born: Generation(born),
        born_epochs: [0; 3],
        created: NOW,
        seen: NOW,
        expires: NOW.plus_ms(3_600_000),
        ended,
    };
    SessionSnapshot { described, session, epochs: [0; 3] }
}
