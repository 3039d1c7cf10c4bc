//! What the fuzzers of a request's fields hold to be true: our cookie never goes up and everybody else's does, and what
//! the application is told of a person and of the way is ours, whatever a client wrote. The same functions replay the
//! corpora on the stable compiler (`proxy/tests/corpus.rs`).

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use portcullis_keys::Keyring;
use portcullis_policy::{
    AccountId, Allow, App, AppId, Attributes, Bindings, Facts, HostPort, IDENTITY_HEADERS, IdentityHeaders,
    OnChange, OrgId, Pattern, Policy, Principal, PublicUrl, Rule, RulesVersion, Seq, UserFrom,
};
use portcullis_proxy::{
    Accept, AccessLog, AppRules, FLOW_COOKIE, Gate, GateRequest, GateVerdict, HeaderCase, HostSent,
    LogDetail, LogFormat, LogTarget, Networks, Pages, Parts, Peer, Rules, SESSION_COOKIE, Site, Trace,
    Upstream, UpstreamPlace, UpstreamSettings, cookies as all_cookies, rewrite_incoming, rewrite_outgoing,
};
use portcullis_session::{InFlight, Sessions};
use prometheus_client::registry::Registry;

/// Each line is a `Cookie` field of a request, and a `Set-Cookie` field of an answer.
pub fn cookies(data: &[u8]) {
    let mut came = HeaderMap::new();
    let mut set = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(50) {
        let Ok(value) = HeaderValue::from_bytes(line) else { continue };
        came.append(COOKIE, value.clone());
        set.append(SET_COOKIE, value);
    }
    let pairs = |headers: &HeaderMap| -> Vec<Vec<u8>> {
        let fields = headers.get_all(COOKIE).into_iter();
        let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
        pairs.map(|pair| pair.trim_ascii().to_vec()).filter(|pair| !pair.is_empty()).collect()
    };
    let wanted: Vec<_> = pairs(&came).into_iter().filter(|pair| !is_ours(pair)).collect();
    let mut gone_up = came.clone();
    let world = &*WORLD;
    rewrite_outgoing(&mut gone_up, &world.place, None, &world.stranger, &Trace::from_headers(&came, false));
    assert_eq!(pairs(&gone_up), wanted, "what is not ours goes up, in its order");
    assert!(gone_up.get_all(COOKIE).iter().count() <= 1);
    for (name, value) in all_cookies(&came) {
        let pair = [name, b"=", value].concat();
        let names = |pair: &Vec<u8>| pair.starts_with(name) || is_ours(pair);
        assert!(name.is_empty() || pairs(&came).iter().any(names), "{:?}", String::from_utf8_lossy(&pair));
    }

    let kept: Vec<_> = set
        .get_all(SET_COOKIE)
        .iter()
        .filter(|field| !is_ours(field.as_bytes().trim_ascii()))
        .cloned()
        .collect();
    let refused = set.len() - kept.len();
    assert_eq!(rewrite_incoming(&mut set, world.place.site(), true, false), refused);
    assert_eq!(set.get_all(SET_COOKIE).iter().cloned().collect::<Vec<_>>(), kept);
}

fn is_ours(pair: &[u8]) -> bool {
    let name =
        String::from_utf8_lossy(pair.split(|byte| *byte == b'=').next().unwrap_or_default()).to_lowercase();
    [SESSION_COOKIE, FLOW_COOKIE].iter().any(|ours| name.starts_with(&ours.to_lowercase()))
}

/// The first line says who asks: with a `t` through a trusted proxy, with a `p` somebody signed in. The others are
/// fields.
pub fn forwarded(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let who_asks = lines.next().unwrap_or_default();
    let mut came = HeaderMap::new();
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(line[colon + 1..].trim_ascii()));
        if let (Ok(name), Ok(value)) = (name, value) {
            came.append(name, value);
        }
    }
    let (world, trusted) = (&*WORLD, who_asks.contains(&b't'));
    let peer = if trusted { &world.proxy } else { &world.stranger };
    let who = who_asks.contains(&b'p').then_some(&world.person);
    the_client(peer.address(), &came, trusted);

    let mut up = came.clone();
    let trace = Trace::from_headers(&came, trusted);
    let told = rewrite_outgoing(&mut up, &world.place, who, peer, &trace).told;
    for (name, value) in &told.fields() {
        up.append(name, value.clone());
    }
    let only = |name: &str| {
        let mut all = up.get_all(name).iter();
        let first = all.next().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        assert!(all.next().is_none(), "two of {name}");
        first.unwrap_or_else(|| panic!("no {name}"))
    };
    assert_eq!(only("host"), "wiki.test");
    assert_eq!((only("x-forwarded-proto"), only("x-forwarded-host")), ("https".into(), "wiki.test".into()));
    let came_by = only("x-forwarded-for");
    assert!(
        came_by == peer.address().to_string()
            || trusted && came_by.ends_with(&format!(", {}", peer.address()))
    );
    assert_eq!(only("traceparent").len(), 55);
    only("x-request-id");
    told_of_the_person(&up, who);
    for name in up.keys().map(HeaderName::as_str).filter(|name| !OURS.contains(name)) {
        let folded = folded(name);
        let begins = |families: &[&str]| families.iter().any(|family| folded.starts_with(family));
        assert!(
            !begins(&["x-auth-", "x-remote-", "x-webauth-", "x-portcullis-", "x-ssl-", "x-client-cert"]),
            "{name}"
        );
        assert!(!["remote-user", "proxy", "x-user", "x-email"].contains(&folded.as_str()), "{name}");
        if !trusted && !IDENTITY_HEADERS.contains(&name) {
            assert!(!begins(&["x-forwarded-", "x-original-", "x-rewrite-"]), "{name}");
            assert!(!["forwarded", "x-real-ip"].contains(&folded.as_str()), "{name}");
        }
    }
    for name in ["accept", "authorization", "user-agent", "x-csrf-token", "content-type", "origin"] {
        let all = |headers: &HeaderMap| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(all(&up), all(&came), "{name} passes");
    }
}

/// The fields about the way that are written here.
const OURS: [&str; 5] =
    ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-request-id", "traceparent"];

fn folded(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// Exactly what is known of the person, under its own names, and nothing that could be taken for it.
fn told_of_the_person(up: &HeaderMap, who: Option<&Principal>) {
    let prepared: Vec<_> = who.map(|who| who.identity_headers().to_vec()).unwrap_or_default();
    let said = up.iter().filter(|(name, _)| IDENTITY_HEADERS.contains(&folded(name.as_str()).as_str()));
    let mut said: Vec<_> = said.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut wanted: Vec<_> = prepared.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    said.sort_by_key(|(name, _)| name.to_string());
    wanted.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(said, wanted);
}

/// A stranger is believed nothing; of what came through trusted proxies nothing before the last stranger.
fn the_client(peer: IpAddr, came: &HeaderMap, trusted: bool) {
    let client = networks().client_address(peer, came);
    if !trusted {
        return assert_eq!(client, peer);
    }
    let fields = came.get_all("x-forwarded-for").iter();
    let words: Vec<String> = fields
        .flat_map(|field| field.as_bytes().split(|byte| *byte == b','))
        .map(|word| String::from_utf8_lossy(word).trim_matches([' ', '\t']).to_owned())
        .collect();
    let proxies =
        words.iter().rev().take_while(|word| address(word).is_some_and(|at| networks().contains(at))).count();
    let behind = words.len() - proxies;
    let nearest = words.get(behind).and_then(|word| address(word)).unwrap_or(peer);
    let expected = if behind == 0 { nearest } else { address(&words[behind - 1]).unwrap_or(nearest) };
    assert_eq!(client, expected, "{words:?}");
}

fn address(word: &str) -> Option<IpAddr> {
    let bare = word.parse().ok();
    let bare = bare.or_else(|| word.parse::<std::net::SocketAddr>().ok().map(|at| at.ip()));
    let bare = bare.or_else(|| word.strip_prefix('[')?.strip_suffix(']')?.parse().ok());
    bare.map(|address: IpAddr| address.to_canonical())
}

fn networks() -> Networks {
    Networks::new(vec!["10.0.0.0/8".parse().expect("a network")])
}

/// An app that anybody may see, a peer, a trusted proxy, and somebody.
struct World {
    place: AppRules,
    stranger: Arc<Peer>,
    proxy: Arc<Peer>,
    person: Principal,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let everything = Rule {
        pattern: Pattern::parse_path("/**").expect("a pattern"),
        methods: vec![],
        allow: Allow::Public,
        on_change: OnChange::Cut,
        upstream: None,
    };
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.test", "", "/.portcullis", vec![everything]);
    let headers = IdentityHeaders::x_forwarded(UserFrom::UserName);
    let policy = Policy::new(RulesVersion(1), vec![app.expect("an app")], Bindings::default(), headers);
    let policy = Arc::new(policy);
    let person = policy.describe_person(&Arc::new(alice()), Seq(1)).expect("a person with a name");
    let upstream = UpstreamSettings {
        at: UpstreamPlace::Http(HostPort::new("127.0.0.1", Some(1)).expect("an address")),
        connect_timeout: Duration::from_secs(1),
        first_byte_timeout: Duration::from_secs(1),
        host: HostSent::Public,
        header_case: HeaderCase::Lower,
        path: portcullis_policy::UpstreamPath::default(),
    };
    let public = HostPort::new("wiki.test", None).and_then(|at| PublicUrl::new(true, at, ""));
    let public = public.expect("an address");
    let site = |app: &App| Site::new(app, "wiki", "default", &public, Upstream::new(&upstream));
    let accept = Accept { trusted: networks(), ..Accept::default() };
    let pages: Pages = Arc::new(|_| unreachable!("no page of ours is asked for"));
    let parts = Parts {
        rules: Rules::new(policy.clone(), accept, LogDetail::default(), pages, site),
        sessions: Sessions::new(1, 1, policy),
        keys: Arc::new(Keyring::from_master(&[7; 32])),
        signer: std::sync::Arc::default(),
        load: Arc::new(|_, _, _| unreachable!("nobody is looked up")),
        log: AccessLog::start_writer(&LogTarget::Off, LogFormat::Json).expect("no log"),
        references: None,
        idle: Duration::from_secs(1),
    };
    let gate = Gate::new(parts, &mut Registry::default());
    let (stranger, proxy) =
        (gate.make_peer(IpAddr::from([198, 51, 100, 9])), gate.make_peer(IpAddr::from([10, 1, 1, 1])));
    let (head, ()) =
        http::Request::get("/").header("host", "wiki.test").body(()).expect("a request").into_parts();
    let exchange = InFlight::new();
    let request = GateRequest::new(&head, 1, &stranger, &exchange);
    let mut record = gate.begin_record(&request);
    let passed = pin!(gate.pass(&request, &mut record)).poll(&mut Context::from_waker(Waker::noop()));
    let Poll::Ready(Ok(GateVerdict::Open(open))) = passed else { panic!("a public page is open at once") };
    let place = open.place().clone();
    World { place, stranger, proxy, person }
});

fn alice() -> Facts {
    Facts {
        account: AccountId(1),
        org: OrgId::ONLY,
        stable_id: "2819c223".into(),
        user_name: Some("alice".into()),
        id: Some("2819c223".into()),
        external_id: None,
        subject: None,
        email: Some("alice@wiki.test".into()),
        attributes: Attributes::default().with_texts(Attributes::PREFERRED_USERNAME, ["al"]),
        groups: Arc::new(["Owners".into(), "a,b %".into()]),
    }
}
