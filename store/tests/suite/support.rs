//! An opened store and short words for what is done with it: SCIM as requests, logins, the enforcing that opens a
//! `Committed`.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Waker};

use bytes::Bytes;
use portcullis_keys::{Keyring, Random};
use portcullis_policy::{
    AccountId, App, AppId, Attributes, Bindings, Change, DirectoryId, IdentityHeaders, OrgId, Policy,
    ResourceId, RulesVersion, SessionHash, Timestamp, UserFrom,
};
use portcullis_scim::{ListPage, Outcome, ResourceRecord, Schemas, ScimError, ScimRequest};
use portcullis_session::{Committed, Sessions};
use portcullis_store::{
    AdmissionRefusal, EmailDomains, LinkAttribute, LinkTo, LoggedIn, LoginAttributes, LoginError, NewSession,
    Origin, PeopleSource, ScimAnswer, Store, StoreError, VerifiedLogin,
};
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use tempfile::TempDir;

pub(crate) const ORG: OrgId = OrgId::ONLY;
pub(crate) const HERE: DirectoryId = DirectoryId::ONLY;
pub(crate) const ELSEWHERE: DirectoryId = DirectoryId(2);
pub(crate) const NOW: Timestamp = Timestamp(1_800_000_000_000);
pub(crate) const HOUR: i64 = 3_600_000;

/// A configuration that tells the application of people by this.
pub(crate) fn telling(user: UserFrom) -> Arc<Policy> {
    let identity = IdentityHeaders::x_forwarded(user);
    Arc::new(Policy::new(RulesVersion(1), Vec::<App>::new(), Bindings::default(), identity))
}

/// A store in a folder that goes with it.
pub(crate) struct Rig {
    pub(crate) store: Arc<Store>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) schemas: Arc<Schemas>,
    pub(crate) path: PathBuf,
    folder: TempDir,
}

/// What a write came to: the answer, and what it meant for access.
pub(crate) struct Done<T> {
    pub(crate) value: T,
    pub(crate) changes: Vec<Change>,
    pub(crate) takes_away: bool,
    pub(crate) seq: i64,
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Self::over(tempfile::tempdir().unwrap()).await
    }

    /// Opens the store that is in a folder.
    pub(crate) async fn over(folder: TempDir) -> Self {
        Self::with_key(folder, 7, Schemas::core_schemas()).await
    }

    /// One whose directory has other schemas.
    pub(crate) async fn speaking(schemas: Schemas) -> Self {
        Self::with_key(tempfile::tempdir().unwrap(), 7, schemas).await
    }

    async fn with_key(folder: TempDir, byte: u8, schemas: Schemas) -> Self {
        let path = folder.path().join("portcullis.db");
        let schemas = Arc::new(schemas);
        let store = Arc::new(Store::open(&path, schemas.clone()).await.unwrap());
        store.settle_search(|_| ()).await.unwrap();
        store.use_keys(&master(byte), &mut Random::from_system(), NOW).await.unwrap();
        let sessions = Sessions::new(1_000, HOUR, telling(UserFrom::UserName));
        Self { store, sessions, schemas, path, folder }
    }

    /// Closes the store and opens it again.
    pub(crate) async fn reopened(self) -> Self {
        self.store.close().await;
        Self::over(self.folder).await
    }

    /// The same with another master key.
    pub(crate) async fn reopened_with(self, byte: u8) -> Self {
        self.store.close().await;
        Self::with_key(self.folder, byte, Schemas::core_schemas()).await
    }

    /// The same with other schemas.
    pub(crate) async fn reopened_speaking(self, schemas: Schemas) -> Self {
        self.store.close().await;
        Self::with_key(self.folder, 7, schemas).await
    }

    /// Enforces, as whoever answers must, and opens.
    pub(crate) async fn done<T>(&self, committed: Committed<T>) -> Done<T> {
        let (changes, takes_away, seq) =
            (committed.changes().to_vec(), committed.takes_away(), committed.seq().0);
        let gone = self.sessions.cleared(self.sessions.apply_changes(&changes)).await;
        Done { value: committed.release(gone), changes, takes_away, seq }
    }

    /// What the last login said of a person, as it stands in the database.
    pub(crate) async fn told_of(&self, account: AccountId) -> Value {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&self.path);
        let mut other = options.connect().await.unwrap();
        let told = sqlx::query_scalar::<_, String>("select told from account where id = ?").bind(account.0);
        serde_json::from_str(&told.fetch_one(&mut other).await.unwrap()).unwrap()
    }

    // ── SCIM ──

    pub(crate) fn read(
        &self,
        method: &str,
        target: &str,
        if_match: Option<&str>,
        body: &Value,
    ) -> ScimRequest {
        let mut request = http::Request::builder()
            .method(method)
            .uri(target)
            .header("content-type", "application/scim+json");
        if let Some(tag) = if_match {
            request = request.header("if-match", tag);
        }
        let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        portcullis_scim::read_request(&self.schemas, &request.body(body).unwrap()).unwrap()
    }

    pub(crate) async fn write_in(
        &self,
        directory: DirectoryId,
        method: &str,
        target: &str,
        if_match: Option<&str>,
        body: Value,
    ) -> Done<ScimAnswer> {
        let ScimRequest::Write(write) = self.read(method, target, if_match, &body) else {
            panic!("{method} {target} is no write")
        };
        let origin = Origin::of_actor("scim:test");
        let written = self.store.write_resource(ORG, directory, &write, &origin, NOW).await.unwrap();
        self.done(written.map(|written| written.answer)).await
    }

    pub(crate) async fn write(&self, method: &str, target: &str, body: Value) -> Done<ScimAnswer> {
        self.write_in(HERE, method, target, None, body).await
    }

    pub(crate) async fn post(&self, target: &str, body: Value) -> ResourceRecord {
        match self.write("POST", target, body).await.value.unwrap() {
            Outcome::Created(record) => record,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn put(&self, target: &str, body: Value) -> Done<ScimAnswer> {
        self.write("PUT", target, body).await
    }

    pub(crate) async fn patch(&self, target: &str, operations: Value) -> Done<ScimAnswer> {
        let body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": operations,
        });
        self.write("PATCH", target, body).await
    }

    pub(crate) async fn delete(&self, target: &str) -> Done<ScimAnswer> {
        self.write("DELETE", target, Value::Null).await
    }

    pub(crate) async fn set_active(&self, user: &ResourceRecord, active: bool) -> Done<ScimAnswer> {
        self.patch(&user_path(user), json!([{ "op": "replace", "value": { "active": active } }])).await
    }

    pub(crate) async fn find_in(&self, directory: DirectoryId, target: &str) -> ScimAnswer {
        let ScimRequest::Find(query) = self.read("GET", target, None, &Value::Null) else {
            panic!("GET {target} is no query")
        };
        self.store.answer_query(ORG, directory, &query).await.unwrap()
    }

    pub(crate) async fn get(&self, target: &str) -> Result<ResourceRecord, ScimError> {
        match self.find_in(HERE, target).await? {
            Outcome::Found(record) => Ok(record),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn list(&self, target: &str) -> ListPage {
        match self.find_in(HERE, target).await.unwrap() {
            Outcome::Listed(page) => page,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn add_user(&self, name: &str) -> ResourceRecord {
        self.post("/Users", user(name)).await
    }

    pub(crate) async fn add_group(&self, name: &str, members: &[&ResourceId]) -> ResourceRecord {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id.as_str() })).collect();
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        self.post("/Groups", body).await
    }

    // ── logins ──

    /// A login with what `link` names; by default the subject compared with `userName`.
    pub(crate) fn login(&self, subject: &str, name: &str) -> VerifiedLogin {
        VerifiedLogin {
            org: ORG,
            app: AppId::ONLY,
            idp: "okta".into(),
            issuer: "https://idp.test".to_owned(),
            subject: subject.to_owned(),
            is_durable: true,
            statement: None,
            replaces: None,
            epochs: [u64::MAX; 3],
            provisioning: PeopleSource::Directory {
                invited: false,
                directories: vec![HERE],
                link: LinkAttribute {
                    claim: "preferred_username".to_owned(),
                    value: Some(name.to_owned()),
                    is_unverified_address: false,
                    to: LinkTo::UserName,
                },
            },
            domains: EmailDomains::AnyBut(Vec::new()),
            is_one_of_several: false,
            policy: telling(UserFrom::UserName),
            claims: LoginAttributes::default(),
            session: NewSession {
                hash: fresh_hash(),
                expires: NOW.plus_ms(12 * HOUR),
                logout_hint: Some(b"sealed".to_vec()),
                idp_subject: subject.to_owned(),
                idp_session: None,
                replaces: None,
                spares_others: false,
            },
            flow: fresh_hash().0.to_vec(),
            flow_until: NOW.plus_ms(600_000),
        }
    }

    pub(crate) async fn try_sign_in(&self, login: VerifiedLogin) -> Result<Done<LoggedIn>, AdmissionRefusal> {
        let origin = Origin { reference: Some("7Q2M-X4KD".into()), ..Origin::of_actor("login") };
        match self.store.log_in(login, &origin, NOW).await {
            Ok(committed) => Ok(self.done(committed).await),
            Err(LoginError::Refused(refusal)) => Err(*refusal),
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Signs in whoever must succeed; the hash of the session.
    pub(crate) async fn sign_in(&self, subject: &str, name: &str) -> (SessionHash, LoggedIn) {
        let login = self.login(subject, name);
        let hash = login.session.hash;
        (hash, self.try_sign_in(login).await.unwrap().value)
    }

    /// An operator's `disable`.
    pub(crate) async fn sign_out_by_hand(&self, who: &str) {
        let disabled = self.store.user_disable(ORG, who, &Origin::of_actor("cli"), NOW).await.unwrap();
        self.done(disabled).await;
    }

    /// Whether the store would let a cold load of this session in: the rules of R3 and R7, asked of the rows.
    pub(crate) async fn is_in(&self, hash: &SessionHash) -> bool {
        let Some(stored) = self.store.read_session(hash).await.unwrap() else { return false };
        stored.described.active
            && !stored.session.ended
            && stored.session.born >= stored.described.generation
            && stored.session.born_epochs.iter().zip(&stored.epochs).all(|(born, now)| born >= now)
    }
}

/// The keys of a master key.
pub(crate) fn master(byte: u8) -> Keyring {
    Keyring::from_master(&[byte; 32])
}

pub(crate) const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub(crate) const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

pub(crate) fn user(name: &str) -> Value {
    json!({ "schemas": [USER], "userName": name, "active": true })
}

pub(crate) fn user_path(user: &ResourceRecord) -> String {
    format!("/Users/{}", user.id)
}

pub(crate) fn group_path(group: &ResourceRecord) -> String {
    format!("/Groups/{}", group.id)
}

/// Takes the first step of a write, which puts it in the writer's queue; it must not be done by that.
pub(crate) fn begin<F: Future>(future: Pin<&mut F>) {
    assert!(future.poll(&mut Context::from_waker(Waker::noop())).is_pending());
}

/// A hash no other call gave.
pub(crate) fn fresh_hash() -> SessionHash {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    SessionHash(hash)
}

pub(crate) fn is_busy(error: &StoreError) -> bool {
    matches!(error, StoreError::Busy { .. })
}

/// A login without a directory.
pub(crate) fn alone(rig: &Rig, subject: &str, email: Option<&str>) -> VerifiedLogin {
    let mut login = rig.login(subject, "");
    login.provisioning = PeopleSource::None;
    login.policy = telling(UserFrom::Email);
    login.claims = LoginAttributes {
        email: email.map(str::to_owned),
        attributes: Attributes::default()
            .with_texts(Attributes::NAME, ["Mia"])
            .with_texts(Attributes::PREFERRED_USERNAME, ["mia"]),
        names_said: email.into_iter().map(str::to_owned).chain(["mia".to_owned()]).collect(),
        groups: Some(vec!["crew".to_owned()]),
    };
    login
}
