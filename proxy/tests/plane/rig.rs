//! One data plane and everything around it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use portcullis_keys::{AssertionKey, Keyring, Random};
use portcullis_policy::{
    AccountId, Allow, App, AppId, Attributes, Bindings, Change, Facts, Generation, GroupBinding, HostPort,
    IdentityHeaders, OnChange, OrgId, Pattern, Policy, PublicUrl, Rule, RulesVersion, Seq, SessionHash,
    SignedHeader, Timestamp, UserFrom,
};
use portcullis_proxy::{
    Accept, AccessLog, AssertionSigner, Certificates, Drained, Gate, HeaderCase, HostSent, Limits, Line,
    Listener, ListenerTls, Load, LoadError, LogDetail, LogFormat, LogTarget, Networks, Pages, Parting, Parts,
    RefusalPage, Rules, Server, Site, TlsFiles, Upstream, UpstreamPlace, UpstreamSettings, Visitor,
    session_cookie,
};
use portcullis_rig::application::Application;
pub(crate) use portcullis_rig::bare::{application, blurt, in_turn, nobody, once_each};
use portcullis_rig::raw::RawSocket;
use portcullis_rig::tls::pem_files;
pub(crate) use portcullis_rig::wait_for;
use portcullis_session::{Described, SessionSnapshot, Sessions, StoredSession};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use url::Url;

/// The app of every test.
pub(crate) const PUBLIC: &str = "http://wiki.localhost:8080";
pub(crate) const HOST: &str = "wiki.localhost:8080";

/// After how many milliseconds without a byte from its client a session is idle.
pub(crate) const IDLE: i64 = 600_000;

/// How a test wants its data plane.
pub(crate) struct Wish {
    pub(crate) rules: Vec<(&'static str, Allow)>,
    pub(crate) upstream: Option<SocketAddr>,
    pub(crate) limits: Limits,
    pub(crate) first_byte: Duration,
    pub(crate) host: HostSent,
    pub(crate) header_case: HeaderCase,
    pub(crate) trusted: Vec<&'static str>,
    pub(crate) public: &'static str,
    /// Who is there is signed, for the audience `wiki`.
    pub(crate) signs: bool,
    /// There is no key to sign by.
    pub(crate) keyless: bool,
    /// Connections begin with a header of the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    /// The application is spoken to over HTTP/2.
    pub(crate) h2c: bool,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            upstream: None,
            limits: Limits::default(),
            first_byte: Duration::from_secs(30),
            host: HostSent::Public,
            header_case: HeaderCase::Lower,
            trusted: Vec::new(),
            public: PUBLIC,
            signs: false,
            keyless: false,
            proxy_protocol: false,
            h2c: false,
        }
    }
}

pub(crate) fn admins() -> Allow {
    Allow::Roles(Arc::new(["admin".into()]))
}

/// What the store would say.
#[derive(Default)]
pub(crate) struct Store {
    people: Mutex<HashMap<AccountId, Person>>,
    sessions: Mutex<HashMap<SessionHash, (AccountId, StoredSession)>>,
    /// Reads fail.
    pub(crate) fails: AtomicBool,
    /// Reads never end.
    pub(crate) hangs: AtomicBool,
    /// How many reads there were.
    pub(crate) reads: AtomicUsize,
}

#[derive(Clone)]
struct Person {
    facts: Arc<Facts>,
    generation: Generation,
    active: bool,
    at: Seq,
}

impl Store {
    fn stored(&self, hash: &SessionHash) -> Option<SessionSnapshot> {
        let (account, session) = self.sessions.lock().unwrap().get(hash)?.clone();
        Some(SessionSnapshot { described: self.described(account), session, epochs: [0; 3] })
    }

    fn described(&self, account: AccountId) -> Described {
        let person = self.people.lock().unwrap()[&account].clone();
        let Person { facts, generation, active, at } = person;
        Described { at, facts, generation, active, resource: None }
    }
}

/// What a page of ours was asked.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) request: Request<Bytes>,
    pub(crate) visitor: Visitor,
    pub(crate) refused: Option<RefusalPage>,
}

pub(crate) struct Rig {
    pub(crate) upstream: Application,
    /// Plain.
    pub(crate) address: SocketAddr,
    /// With TLS.
    pub(crate) secure: SocketAddr,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<Store>,
    pub(crate) keys: Arc<Keyring>,
    /// The key that signs who is there, and its place.
    pub(crate) key: Arc<AssertionKey>,
    pub(crate) signer: Arc<AssertionSigner>,
    pub(crate) pages: Arc<Mutex<Vec<Seen>>>,
    pub(crate) registry: Registry,
    records: tokio::sync::Mutex<mpsc::Receiver<Line>>,
    log: AccessLog,
    log_path: PathBuf,
    wish: Wish,
    pub(crate) parting: watch::Sender<Parting>,
    drain: Duration,
    pub(crate) running: Option<JoinHandle<Drained>>,
    _folder: tempfile::TempDir,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::with(Wish::default()).await
    }

    pub(crate) async fn with(wish: Wish) -> Self {
        Self::draining(wish, Duration::from_millis(200)).await
    }

    /// `drain`: how long exchanges may take after the stop.
    pub(crate) async fn draining(wish: Wish, drain: Duration) -> Self {
        let upstream = Application::start().await;
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = pem_files("wiki.localhost");
        let tls = TlsFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        std::fs::write(&tls.certificate, certificate).unwrap();
        std::fs::write(&tls.key, key).unwrap();

        let policy = policy(&wish, 1);
        let sessions = Sessions::new(1000, IDLE, policy.clone());
        let (store, pages) = (Arc::new(Store::default()), Arc::new(Mutex::new(Vec::new())));
        let keys = Arc::new(Keyring::from_master(&[7; 32]));
        let (key, signer) = (Arc::new(AssertionKey::new()), Arc::new(AssertionSigner::default()));
        if !wish.keyless {
            signer.replace_key(key.clone());
        }
        let log_path = folder.path().join("access.log");
        let log = AccessLog::start_writer(&LogTarget::File(log_path.clone()), LogFormat::Json).unwrap();
        let mut registry = Registry::default();
        let (references, records) = mpsc::channel(100);
        let parts = Parts {
            rules: rules(&wish, policy, upstream.address, page(pages.clone())),
            sessions: sessions.clone(),
            keys: keys.clone(),
            load: load(sessions.clone(), store.clone()),
            log: log.clone(),
            signer: signer.clone(),
            references: Some(references),
            idle: wish.limits.idle,
        };
        let gate = Gate::new(parts, &mut registry);
        let tls = ListenerTls { certificates: Certificates::load(&[tls]).unwrap(), clients: None };
        let listen = |tls| Listener {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls,
            proxy_protocol: wish.proxy_protocol,
        };
        let server = Server::bind_listeners(
            gate.clone(),
            &[listen(None), listen(Some(tls))],
            wish.limits,
            Some(2),
            &mut Vec::new(),
        )
        .unwrap();
        let addresses = server.addresses();
        let (parting, told) = watch::channel(Parting::Stay);
        let running = tokio::spawn(async move { server.run(told, std::future::pending()).await.unwrap() });
        Self {
            upstream,
            address: addresses[0],
            secure: addresses[1],
            gate,
            sessions,
            store,
            keys,
            key,
            signer,
            pages,
            registry,
            records: records.into(),
            log,
            log_path,
            wish,
            parting,
            drain,
            running: Some(running),
            _folder: folder,
        }
    }

    /// Connects a bare socket.
    pub(crate) async fn connect(&self) -> RawSocket {
        RawSocket::connect(self.address, HOST).await
    }

    /// Asks with a request line, our host, and these fields.
    pub(crate) async fn ask(&self, line: &str, fields: &[&str]) -> RawSocket {
        let mut raw = self.connect().await;
        raw.say(line, fields).await;
        raw
    }

    /// Signs somebody in, in the store alone. Says the session and its `Cookie` pair.
    pub(crate) fn sign_in(&self, account: i64, name: &str, groups: &[&str]) -> (SessionHash, String) {
        let (id, hash) = self.keys.new_session(&mut Random::from_system());
        let id_of = AccountId(account);
        self.store.people.lock().unwrap().entry(id_of).or_insert_with(|| Person {
            facts: Arc::new(facts(id_of, name, groups)),
            generation: Generation(0),
            active: true,
            at: Seq(1),
        });
        let now = Timestamp::now();
        let session = StoredSession {
            hash,
            app: AppId::ONLY,
            idp: "okta".into(),
            born: self.store.people.lock().unwrap()[&id_of].generation,
            born_epochs: [0; 3],
            created: now,
            seen: now,
            expires: now.plus_ms(3_600_000),
            ended: false,
        };
        self.store.sessions.lock().unwrap().insert(hash, (id_of, session));
        let value = self.keys.seal_cookie(AppId::ONLY, &id);
        let name = session_cookie(&public_url(self.wish.public));
        (hash, format!("{name}={}", value.expose()))
    }

    pub(crate) fn alice(&self) -> String {
        self.sign_in(1, "alice", &["Owners"]).1
    }

    pub(crate) fn bob(&self) -> String {
        self.sign_in(2, "bob", &[]).1
    }

    /// Takes somebody out, and waits until everything of theirs has left.
    pub(crate) async fn take_out(&self, account: i64) {
        let id = AccountId(account);
        let generation = {
            let mut people = self.store.people.lock().unwrap();
            let person = people.get_mut(&id).unwrap();
            person.generation.0 += 1;
            person.active = false;
            person.at.0 += 1;
            person.generation
        };
        self.enforce(&[Change::Out(id, generation)]).await;
    }

    pub(crate) async fn enforce(&self, changes: &[Change]) {
        let cut = self.sessions.apply_changes(changes);
        let _ =
            tokio::time::timeout(Duration::from_secs(5), self.sessions.cleared(cut)).await.expect("cleared");
    }

    /// Gives somebody other groups, in the store alone.
    pub(crate) fn regroup(&self, account: i64, groups: &[&str]) {
        let mut people = self.store.people.lock().unwrap();
        let person = people.get_mut(&AccountId(account)).unwrap();
        let name = person.facts.user_name.clone().unwrap();
        person.facts = Arc::new(facts(AccountId(account), &name, groups));
        person.at.0 += 1;
    }

    /// Describes somebody again, as the revocation does after a change of groups.
    pub(crate) async fn describe(&self, account: i64) {
        let id = AccountId(account);
        let mut cut = self.sessions.apply_changes(&[Change::Reconsider(id)]);
        for stale in cut.stale_accounts() {
            cut = cut.merge(self.sessions.describe_account(&stale, &self.store.described(id)));
        }
        let _ =
            tokio::time::timeout(Duration::from_secs(5), self.sessions.cleared(cut)).await.expect("cleared");
    }

    /// New rules of this rig, of the next version.
    pub(crate) fn new_rules(&self, version: u64, rules_: Vec<(&'static str, Allow)>) -> (Rules, Arc<Policy>) {
        let wish = Wish { rules: rules_, trusted: self.wish.trusted.clone(), ..Wish::default() };
        let policy = policy(&wish, version);
        (rules(&wish, policy.clone(), self.upstream.address, page(self.pages.clone())), policy)
    }

    /// The lines of the access log that have a path, once there are enough of them.
    pub(crate) async fn lines(&self, path: &str, count: usize) -> Vec<serde_json::Value> {
        let mut found = Vec::new();
        wait_for(|| {
            self.log.flush(Duration::from_secs(10));
            let text = std::fs::read_to_string(&self.log_path).unwrap();
            let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
            found = lines.filter(|line| line["path"] == path).collect();
            found.len() >= count
        })
        .await;
        found
    }

    /// The record that a reference number leads to; those before it are dropped.
    pub(crate) async fn record(&self, reference: &str) -> serde_json::Value {
        let mut records = self.records.lock().await;
        loop {
            let line = tokio::time::timeout(Duration::from_secs(10), records.recv()).await;
            let line = line.expect("a record").unwrap();
            if line.reference.as_deref() == Some(reference) {
                return serde_json::from_str(&line.to_record()).unwrap();
            }
        }
    }

    /// The value of a metric, with its labels as they are written.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
    }

    /// Stops, and says how it ended.
    pub(crate) async fn stop(&mut self) -> Drained {
        self.parting.send_replace(Parting::Leave(self.drain));
        self.ended().await
    }

    /// Waits until it has ended, and says how.
    pub(crate) async fn ended(&mut self) -> Drained {
        tokio::time::timeout(Duration::from_secs(20), self.running.take().unwrap()).await.unwrap().unwrap()
    }
}

fn facts(account: AccountId, name: &str, groups: &[&str]) -> Facts {
    Facts {
        account,
        org: OrgId::ONLY,
        stable_id: format!("id-{name}").into(),
        user_name: Some(name.into()),
        id: Some(format!("id-{name}").into()),
        external_id: None,
        subject: None,
        email: Some(format!("{name}@wiki.test").into()),
        attributes: Attributes::default(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
    }
}

fn policy(wish: &Wish, version: u64) -> Arc<Policy> {
    let rule = |(path, allow): &(&str, Allow)| Rule {
        pattern: Pattern::parse_path(path).unwrap(),
        methods: Vec::new(),
        allow: allow.clone(),
        on_change: OnChange::Cut,
        upstream: None,
    };
    let rules = wish.rules.iter().map(rule).collect();
    let app = App::new(AppId::ONLY, OrgId::ONLY, "wiki.localhost", "", "/.portcullis", rules).unwrap();
    let owners = [GroupBinding { group: "Owners".into(), role: "admin".into() }];
    let bindings = Bindings::new(&["admin".into()], &[], &owners).unwrap();
    let signed = wish.signs.then(|| SignedHeader {
        issuer: wish.public.into(),
        audience: "wiki".into(),
        organization: "default".into(),
    });
    let identity = IdentityHeaders { signed, ..IdentityHeaders::x_forwarded(UserFrom::UserName) };
    Arc::new(Policy::new(RulesVersion(version), vec![app], bindings, identity))
}

fn rules(wish: &Wish, policy: Arc<Policy>, upstream: SocketAddr, pages: Pages) -> Rules {
    let address = wish.upstream.unwrap_or(upstream);
    let at = HostPort::new(address.to_string().rsplit_once(':').unwrap().0, Some(address.port())).unwrap();
    let upstream = UpstreamSettings {
        at: if wish.h2c { UpstreamPlace::H2c(at) } else { UpstreamPlace::Http(at) },
        connect_timeout: Duration::from_secs(2),
        first_byte_timeout: wish.first_byte,
        host: wish.host.clone(),
        header_case: wish.header_case,
        path: portcullis_policy::UpstreamPath::default(),
    };
    let site =
        |app: &App| Site::new(app, "wiki", "default", &public_url(wish.public), Upstream::new(&upstream));
    let trusted = Networks::new(wish.trusted.iter().map(|network| network.parse().unwrap()).collect());
    let accept = Accept { trusted, head: wish.limits.head, ..Accept::default() };
    Rules::new(policy, accept, LogDetail::default(), pages, site)
}

fn public_url(text: &str) -> PublicUrl {
    let url = Url::parse(text).unwrap();
    let at = HostPort::new(url.host_str().unwrap(), url.port()).unwrap();
    PublicUrl::new(url.scheme() == "https", at, url.path().trim_end_matches('/')).unwrap()
}

/// The cold road over the maps.
fn load(sessions: Arc<Sessions>, store: Arc<Store>) -> Load {
    Arc::new(move |hash, app, exchange| {
        let (sessions, store) = (sessions.clone(), store.clone());
        Box::pin(async move {
            store.reads.fetch_add(1, Ordering::SeqCst);
            let Some((account, _)) = store.sessions.lock().unwrap().get(&hash).cloned() else {
                return Ok(None);
            };
            let cold = sessions.keep_account(OrgId::ONLY, account).enrol(hash, &exchange);
            if store.hangs.load(Ordering::SeqCst) {
                std::future::pending::<()>().await;
            }
            if store.fails.load(Ordering::SeqCst) {
                return Err(LoadError::Unavailable);
            }
            let Some(stored) = store.stored(&hash) else { return Ok(None) };
            sessions.read_session(cold, &stored, app, Timestamp::now()).map(Some).map_err(LoadError::Ended)
        })
    })
}

fn page(seen: Arc<Mutex<Vec<Seen>>>) -> Pages {
    Arc::new(move |request| {
        let visitor = request.extensions().get::<Visitor>().unwrap().clone();
        let refused = request.extensions().get::<RefusalPage>().cloned();
        let page = match &refused {
            Some(refused) => format!("<p>{} {}</p>", refused.kind, refused.reference),
            None => format!("<p>{}</p>", request.uri().path()),
        };
        let mut response = Response::new(Bytes::from(page));
        response.headers_mut().insert("content-type", "text/html; charset=utf-8".parse().unwrap());
        if request.uri().path().ends_with("/broken") {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        seen.lock().unwrap().push(Seen { request, visitor, refused });
        Box::pin(async move { response })
    })
}
