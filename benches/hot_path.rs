//! Rooms one to five of a warm request without sockets: accept, route, identify, decide, and the head that goes up.
//!
//! Run with `cargo bench --bench hot_path`. The promise is 3 µs (docs/architecture.md); what Pingora itself costs is
//! measured by `--bench requests`.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a measurement that cannot go on stops")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt as _;
use portcullis_keys::{Keyring, Random};
use portcullis_policy::{
    AccountId, App, AppId, Attributes, Bindings, Facts, Generation, GroupBinding, HostPort, IdentityHeaders,
    OrgId, Policy, PublicUrl, RulesVersion, Seq, SessionHash, Timestamp, UserFrom,
};
use portcullis_proxy::{
    Accept, AccessLog, Gate, GateRequest, GateVerdict, HeaderCase, HostSent, LogDetail, LogFormat, LogTarget,
    Open, Pages, Parts, Peer, Rules, Site, Trace, Upstream, UpstreamPlace, UpstreamSettings,
    rewrite_outgoing, session_cookie,
};
use portcullis_session::{Described, InFlight, SessionSnapshot, Sessions, StoredSession};
use prometheus_client::registry::Registry;

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct World {
    gate: Arc<Gate>,
    /// Keeps the account in memory as the cache does.
    _sessions: Arc<Sessions>,
    parts: http::request::Parts,
    peer: Arc<Peer>,
}

fn policy() -> Arc<Policy> {
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.example.com", "", "/.portcullis", vec![]).unwrap();
    let bind = [GroupBinding { group: "Engineering".into(), role: "member".into() }];
    let bindings = Bindings::new(&["member".into()], &[], &bind).unwrap();
    Arc::new(Policy::new(
        RulesVersion(1),
        vec![app],
        bindings,
        IdentityHeaders::x_forwarded(UserFrom::UserName),
    ))
}

fn stored(hash: SessionHash, now: Timestamp) -> SessionSnapshot {
    let facts = Facts {
        account: AccountId(1),
        org: OrgId::ONLY,
        stable_id: "2819c223-7f76-453a-919d-413861904646".into(),
        user_name: Some("alice@example.com".into()),
        id: Some("2819c223-7f76-453a-919d-413861904646".into()),
        external_id: Some("00u8mira2k".into()),
        subject: None,
        email: Some("alice@example.com".into()),
        attributes: Attributes::default()
            .with_texts(Attributes::NAME, ["Alice Example"])
            .with_texts(Attributes::PREFERRED_USERNAME, ["alice@example.com"]),
        groups: Arc::new(["Engineering".into(), "Everyone".into()]),
    };
    let generation = Generation(0);
    SessionSnapshot {
        described: Described { at: Seq(1), facts: Arc::new(facts), generation, active: true, resource: None },
        session: StoredSession {
            hash,
            app: AppId::ONLY,
            idp: "okta".into(),
            born: generation,
            born_epochs: [0; 3],
            created: now,
            seen: now,
            expires: now.plus_ms(43_200_000),
            ended: false,
        },
        epochs: [0; 3],
    }
}

fn world() -> World {
    let now = Timestamp::now();
    let url = PublicUrl::new(true, HostPort::new("wiki.example.com", None).unwrap(), "").unwrap();
    let keys = Arc::new(Keyring::from_master(&[7; 32]));
    let (id, hash) = keys.new_session(&mut Random::from_seed(1));
    let cookie = format!(
        "theme=dark; {}={}; lang=en",
        session_cookie(&url),
        keys.seal_cookie(AppId::ONLY, &id).expose()
    );
    let policy = policy();
    let sessions = Sessions::new(100_000, 7_200_000, policy.clone());
    let cold = sessions.keep_account(OrgId::ONLY, AccountId(1)).enrol(hash, &InFlight::new());
    drop(sessions.read_session(cold, &stored(hash, now), AppId::ONLY, now).unwrap());

    let upstream = UpstreamSettings {
        at: UpstreamPlace::Http(HostPort::new("127.0.0.1", Some(3000)).unwrap()),
        connect_timeout: Duration::from_secs(5),
        first_byte_timeout: Duration::from_secs(300),
        host: HostSent::Public,
        header_case: HeaderCase::Lower,
        path: portcullis_policy::UpstreamPath::default(),
    };
    let site = |app: &App| Site::new(app, "default", "default", &url, Upstream::new(&upstream));
    let pages: Pages = Arc::new(|_| panic!("a warm request shows no page of ours"));
    let gate = Gate::new(
        Parts {
            rules: Rules::new(policy, Accept::default(), LogDetail::default(), pages, site),
            sessions: sessions.clone(),
            keys,
            signer: Arc::default(),
            load: Arc::new(|_, _, _| panic!("a warm request reads nothing")),
            log: AccessLog::start_writer(&LogTarget::Off, LogFormat::Json).unwrap(),
            references: None,
            idle: Duration::from_secs(75),
        },
        &mut Registry::default(),
    );
    let request = http::Request::get("/dashboard?tab=1")
        .header("host", "wiki.example.com")
        .header("user-agent", "Mozilla/5.0 (X11; Linux x86_64) bench")
        .header("accept", "text/html,application/xhtml+xml")
        .header("accept-language", "en-GB,en")
        .header("accept-encoding", "gzip, br")
        .header("cookie", cookie)
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document")
        .header("sec-fetch-site", "none");
    World {
        peer: gate.make_peer(PEER),
        gate,
        _sessions: sessions,
        parts: request.body(()).unwrap().into_parts().0,
    }
}

fn pass(world: &World) -> (Open, portcullis_proxy::Record) {
    let exchange = InFlight::new();
    let request = GateRequest::new(&world.parts, 512, &world.peer, &exchange);
    let mut record = world.gate.begin_record(&request);
    let verdict = world.gate.pass(&request, &mut record).now_or_never();
    match verdict {
        Some(Ok(GateVerdict::Open(open))) => (open, record),
        _ => panic!("a warm request is let up at once"),
    }
}

fn hot_path(criterion: &mut Criterion) {
    let world = world();
    // The request's own is made in `pass`; this one stands for it.
    let trace = Trace::from_headers(&world.parts.headers, false);
    criterion.bench_function("rooms 1 to 4: accept, route, identify, decide", |bench| {
        bench.iter(|| black_box(pass(&world)));
    });
    criterion.bench_function("rooms 1 to 5: and the head that goes up", |bench| {
        bench.iter_batched(
            || world.parts.headers.clone(),
            |mut headers| {
                let (open, _record) = pass(&world);
                let told = rewrite_outgoing(
                    &mut headers,
                    open.place(),
                    open.who().map(|who| &**who),
                    &world.peer,
                    &trace,
                );
                black_box((headers, told.told, open))
            },
            criterion::BatchSize::SmallInput,
        );
    });
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
