//! People and sessions put into the store before the program starts, through the crate `store`: never through a door in
//! the binary that only tests know.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use portcullis_keys::{Keyring, Random, sha256};
use portcullis_policy::{
    AppId, Bindings, DirectoryId, IdentityHeaders, OrgId, Policy, RulesVersion, Timestamp, UserFrom,
};
use portcullis_scim::{Outcome, Schemas, ScimRequest};
use portcullis_store::{
    EmailDomains, LinkAttribute, LinkTo, LoginAttributes, NewSession, Origin, PeopleSource, Store,
    VerifiedLogin,
};
use serde_json::Value;

use super::directory::user;
use super::settings::Settings;

/// How many writes wait for the store at a time: more would be told that it is crowded.
const AT_ONCE: usize = 8;

/// Who was put there: the SCIM `id` of each, and a `Cookie` header for their session.
#[derive(Default)]
pub struct Seeded(pub HashMap<String, (String, String)>);

/// The store and the keys of a program that does not run yet, or runs: SQLite keeps two writers apart.
pub struct Seed {
    store: Store,
    keys: Keyring,
    schemas: Arc<Schemas>,
    cookie: String,
    lasts_ms: i64,
    /// Name and issuer, as configured.
    idp: (String, String),
    provisioning: &'static str,
}

impl Seed {
    /// Opens the state of a program in this folder, making it where it is not there yet.
    pub async fn open(folder: &Path, settings: &Settings) -> Self {
        let state = folder.join("state");
        if !state.exists() {
            DirBuilder::new().mode(0o700).create(&state).unwrap();
        }
        let keys = Keyring::load_or_create(&state.join("master.key"), &mut Random::from_system()).unwrap();
        let schemas = Arc::new(Schemas::core_schemas());
        let store = Store::open(&state.join("portcullis.db"), schemas.clone()).await.unwrap();
        store.use_keys(&keys, &mut Random::from_system(), Timestamp::now()).await.unwrap();
        Self {
            store,
            keys,
            schemas,
            cookie: session_cookie(settings),
            lasts_ms: settings.absolute_ms(),
            idp: settings.idp(),
            provisioning: settings.provisioning,
        }
    }

    /// Makes a user or a group.
    pub async fn post(&self, target: &str, body: Value) {
        self.post_at(target, body, Timestamp::now()).await;
    }

    /// The same at another time.
    pub async fn post_at(&self, target: &str, body: Value, now: Timestamp) {
        let request = http::Request::post(target).header("content-type", "application/scim+json");
        let request = request.body(Bytes::from(body.to_string())).unwrap();
        let Ok(ScimRequest::Write(write)) = portcullis_scim::read_request(&self.schemas, &request) else {
            panic!("{body}")
        };
        // Nobody is in yet: there is nothing to enforce.
        let (org, directory) = (OrgId::ONLY, DirectoryId::ONLY);
        let origin = Origin::of_actor("suite");
        let _ = self.store.write_resource(org, directory, &write, &origin, now).await.unwrap();
    }

    /// Makes users whose `externalId`, address and name are all the same, with a session each.
    pub async fn people(&self, names: &[&str]) -> Seeded {
        let made = names.iter().map(|name| self.post("/Users", user(name, name)));
        futures_util::stream::iter(made).buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
        let mut seeded = Seeded::default();
        for start in (1..=names.len()).step_by(1000) {
            let request = http::Request::get(format!("/Users?startIndex={start}&count=1000"))
                .body(Bytes::new())
                .unwrap();
            let Ok(ScimRequest::Find(query)) = portcullis_scim::read_request(&self.schemas, &request) else {
                panic!("a list")
            };
            let Ok(Outcome::Listed(page)) =
                self.store.answer_query(OrgId::ONLY, DirectoryId::ONLY, &query).await.unwrap()
            else {
                panic!("a page")
            };
            for record in page.records {
                let name = record.resource.user_name().unwrap().to_owned();
                seeded.0.insert(name, (record.id.as_str().to_owned(), String::new()));
            }
        }
        let sessions = names.iter().map(|name| async { (*name, self.session(name).await) });
        let sessions: Vec<_> = futures_util::stream::iter(sessions).buffer_unordered(AT_ONCE).collect().await;
        for (name, cookie) in sessions {
            seeded.0.get_mut(name).unwrap().1 = cookie;
        }
        seeded
    }

    /// A further session of somebody, as a login makes it: the `Cookie` header.
    pub async fn session(&self, name: &str) -> String {
        let now = Timestamp::now();
        let (id, hash) = self.keys.new_session(&mut Random::from_system());
        let sign_in = VerifiedLogin {
            org: OrgId::ONLY,
            app: AppId::ONLY,
            idp: self.idp.0.as_str().into(),
            issuer: self.idp.1.clone(),
            subject: name.to_owned(),
            is_durable: true,
            statement: None,
            replaces: None,
            epochs: [u64::MAX; 3],
            provisioning: match self.provisioning {
                "none" => PeopleSource::None,
                of_directory => PeopleSource::Directory {
                    invited: of_directory == "invited",
                    directories: vec![DirectoryId::ONLY],
                    link: LinkAttribute {
                        claim: "sub".to_owned(),
                        value: Some(name.to_owned()),
                        is_unverified_address: false,
                        to: LinkTo::ExternalId,
                    },
                },
            },
            domains: EmailDomains::AnyBut(Vec::new()),
            is_one_of_several: false,
            policy: Arc::new(Policy::new(
                RulesVersion(1),
                Vec::new(),
                Bindings::default(),
                IdentityHeaders::x_forwarded(match self.provisioning {
                    "none" => UserFrom::Email,
                    _ => UserFrom::UserName,
                }),
            )),
            claims: LoginAttributes { email: Some(name.to_owned()), ..LoginAttributes::default() },
            session: NewSession {
                hash,
                expires: now.plus_ms(self.lasts_ms),
                logout_hint: None,
                idp_subject: String::new(),
                idp_session: None,
                replaces: None,
                spares_others: false,
            },
            flow: hash.0.to_vec(),
            flow_until: now.plus_ms(600_000),
        };
        let _ = self.store.log_in(sign_in, &Origin::of_actor("suite"), now).await.unwrap();
        format!("{}={}", self.cookie, self.keys.seal_cookie(AppId::ONLY, &id).expose())
    }

    /// Hands the store to the program.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// The name of the app's session cookie: it ends in a short hash of the public URL.
fn session_cookie(settings: &Settings) -> String {
    let hash = sha256(settings.origin().as_bytes());
    let short: String = hash[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}{short}", super::inspect::SESSION_COOKIE)
}
