//! What the unit tests share: an app `https://wiki.test`, and a person in it.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use portcullis_keys::Keyring;
use portcullis_policy::{
    AccountId, App, AppId, Attributes, Bindings, Facts, GroupBinding, HostPort, IdentityHeaders, OrgId,
    Policy, Principal, PublicUrl, Rule, RulesVersion, Seq, UserFrom,
};
use portcullis_session::Sessions;
use prometheus_client::registry::Registry;

use crate::gate::{Gate, Parts};
use crate::pages::Pages;
use crate::{
    Accept, AccessLog, AppRules, HeaderCase, HostSent, Limits, LogDetail, LogFormat, LogTarget, Networks,
    Rules, Site, Upstream, UpstreamPlace, UpstreamSettings,
};

/// A client.
pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 9));

pub(crate) fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers
            .append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
    }
    headers
}

pub(crate) fn policy(rules: Vec<Rule>) -> Arc<Policy> {
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.test", "", "/.portcullis", rules).unwrap();
    let owners = [GroupBinding { group: "Owners".into(), role: "admin".into() }];
    let bindings = Bindings::new(&["admin".into()], &[], &owners).unwrap();
    Arc::new(Policy::new(
        RulesVersion(1),
        vec![app],
        bindings,
        IdentityHeaders::x_forwarded(UserFrom::UserName),
    ))
}

pub(crate) fn rules(policy: Arc<Policy>) -> Rules {
    let upstream = UpstreamSettings {
        at: UpstreamPlace::Http(HostPort::new("127.0.0.1", Some(1)).unwrap()),
        connect_timeout: std::time::Duration::from_secs(1),
        first_byte_timeout: std::time::Duration::from_secs(1),
        host: HostSent::Public,
        header_case: HeaderCase::Lower,
        path: portcullis_policy::UpstreamPath::default(),
    };
    let public = PublicUrl::new(true, HostPort::new("wiki.test", None).unwrap(), "").unwrap();
    let site = |app: &App| Site::new(app, "wiki", "default", &public, Upstream::new(&upstream));
    let trusted = Networks::new(vec!["10.0.0.0/8".parse().unwrap()]);
    let accept = Accept { trusted, ..Accept::default() };
    let pages: Pages = Arc::new(|_| Box::pin(async { http::Response::default() }));
    Rules::new(policy, accept, LogDetail::default(), pages, site)
}

pub(crate) fn place() -> AppRules {
    AppRules::of_host(&Arc::new(rules(policy(vec![]))), "wiki.test").unwrap()
}

pub(crate) fn alice(policy: &Policy) -> Principal {
    let facts = Facts {
        account: AccountId(1),
        org: OrgId::ONLY,
        stable_id: "2819c223".into(),
        user_name: Some("alice".into()),
        id: Some("2819c223".into()),
        external_id: None,
        subject: None,
        email: Some("alice@wiki.test".into()),
        attributes: Attributes::default(),
        groups: Arc::new(["Owners".into()]),
    };
    policy.describe_person(&Arc::new(facts), Seq(1)).unwrap()
}

pub(crate) fn gate() -> Arc<Gate> {
    let policy = policy(vec![]);
    let parts = Parts {
        rules: rules(policy.clone()),
        sessions: Sessions::new(100, 3_600_000, policy),
        keys: Arc::new(Keyring::from_master(&[7; 32])),
        signer: Arc::default(),
        load: Arc::new(|_, _, _| Box::pin(async { Ok(None) })),
        log: AccessLog::start_writer(&LogTarget::Off, LogFormat::Json).unwrap(),
        references: None,
        idle: Limits::default().idle,
    };
    Gate::new(parts, &mut Registry::default())
}
