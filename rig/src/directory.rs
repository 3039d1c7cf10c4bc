//! A SCIM client with the habits of those in the field: bodies as Okta, Entra and JumpCloud send them.

use std::net::SocketAddr;

use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::raw::RawSocket;
use crate::wire::{self, Answer, Connection, WireFault, whole};

pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
pub const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// A client of the SCIM port.
#[derive(Clone)]
pub struct DirectoryClient {
    address: SocketAddr,
    host: String,
    token: String,
    base: String,
    kind: &'static str,
    /// The method that a header says is meant.
    meant: Option<&'static str>,
}

impl DirectoryClient {
    /// A client with this token.
    pub fn new(address: SocketAddr, token: &str) -> Self {
        Self {
            address,
            host: address.to_string(),
            token: token.to_owned(),
            base: "/scim/v2".to_owned(),
            kind: "application/scim+json",
            meant: None,
        }
    }

    /// The same below another base path.
    #[must_use]
    pub fn below(mut self, base: &str) -> Self {
        base.clone_into(&mut self.base);
        self
    }

    /// The same whose every request says that another method is meant.
    #[must_use]
    pub fn overriding(mut self, meant: &'static str) -> Self {
        self.meant = Some(meant);
        self
    }

    /// The same with another token.
    #[must_use]
    pub fn with_token(mut self, token: &str) -> Self {
        token.clone_into(&mut self.token);
        self
    }

    /// The same with another content type.
    #[must_use]
    pub fn speaking(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    /// Sends one request and reads its answer.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|fault| panic!("SCIM {path}: {fault:?}"))
    }

    /// The same where the connection may break.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, WireFault> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        request = request.header("host", &self.host).header("accept", "application/scim+json");
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(meant) = self.meant {
            request = request.header("x-http-method-override", meant);
        }
        let bytes = body.map(Value::to_string).unwrap_or_default();
        if body.is_some() {
            request = request.header("content-type", self.kind);
        }
        wire::ask(self.address, request.body(whole(bytes)).unwrap()).await
    }

    /// Writes a whole request and hangs up after its last byte, as an impatient client would.
    pub async fn send_and_hang_up(&self, method: Method, path: &str, body: Option<&Value>) {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut raw = RawSocket::connect(self.address, &self.host).await;
        let fields = [
            format!("authorization: Bearer {}", self.token),
            format!("content-type: {}", self.kind),
            format!("content-length: {}", body.len()),
        ];
        raw.say(&format!("{method} {}{path}", self.base), &fields.each_ref().map(String::as_str)).await;
        raw.send(body.as_bytes()).await;
    }

    /// Sends a whole request over HTTP/2 and cancels it after half a second, as a client with a time limit would.
    pub async fn send_and_cancel(&self, method: Method, path: &str, body: &Value) {
        let mut line = Connection::open_h2(self.address).await.unwrap();
        let request =
            Request::builder().method(method).uri(format!("http://{}{}{path}", self.host, self.base));
        let request = request.header("authorization", format!("Bearer {}", self.token));
        let request = request.header("content-type", self.kind).body(whole(body.to_string())).unwrap();
        let asked = tokio::time::timeout(std::time::Duration::from_millis(500), line.send(request)).await;
        assert!(
            asked.is_err(),
            "it was answered: {:?}",
            asked.map(|answer| answer.map(|answer| answer.status))
        );
    }

    /// Creates a user; its answer must be 201.
    pub async fn create(&self, user: &Value) -> Value {
        let answer = self.send(Method::POST, "/Users", Some(user)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()
    }

    /// Creates a person in the plainest way; gives the `id`.
    pub async fn person(&self, name: &str, external_id: &str) -> String {
        let made = self.create(&user(name, external_id)).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Creates a group; gives the `id`.
    pub async fn group(&self, name: &str, members: &[&str]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let body = json!({ "schemas": [GROUP], "displayName": name, "members": members });
        let answer = self.send(Method::POST, "/Groups", Some(&body)).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    }

    /// PATCH of a user with these operations.
    pub async fn patch(&self, id: &str, operations: Value) -> Answer {
        self.send(Method::PATCH, &format!("/Users/{id}"), Some(&patch(operations))).await
    }

    /// PATCH of a group with these operations.
    pub async fn patch_group(&self, id: &str, operations: Value) -> Answer {
        self.send(Method::PATCH, &format!("/Groups/{id}"), Some(&patch(operations))).await
    }

    /// Takes a person out, as Okta does it. The answer must say that it took effect.
    pub async fn deactivate(&self, id: &str) {
        let answer = self.patch(id, okta::deactivate()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["active"], false);
    }

    /// Brings a person back.
    pub async fn reactivate(&self, id: &str) {
        let answer = self.patch(id, okta::reactivate()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        assert_eq!(answer.json()["active"], true);
    }

    /// Removes a person; what the answer's status was.
    pub async fn delete(&self, id: &str) -> StatusCode {
        self.send(Method::DELETE, &format!("/Users/{id}"), None).await.status
    }

    /// Reads a user.
    pub async fn read(&self, id: &str) -> Answer {
        self.send(Method::GET, &format!("/Users/{id}"), None).await
    }

    /// The users that a filter finds.
    pub async fn find(&self, filter: &str) -> Value {
        let query: String =
            url::form_urlencoded::Serializer::new(String::new()).append_pair("filter", filter).finish();
        let answer = self.send(Method::GET, &format!("/Users?{query}"), None).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }
}

/// The plainest user.
pub fn user(name: &str, external_id: &str) -> Value {
    json!({
        "schemas": [USER], "userName": name, "externalId": external_id, "active": true, "displayName": name,
        "emails": [{ "value": name, "type": "work", "primary": true }],
    })
}

/// A PATCH body around operations.
pub fn patch(operations: Value) -> Value {
    json!({ "schemas": [PATCH], "Operations": operations })
}

/// As Okta sends it.
pub mod okta {
    use super::*;

    /// Create, of somebody.
    pub fn create(name: &str, external_id: &str) -> Value {
        create_named(name, external_id, "Mira", "Sand")
    }

    /// Create, as its template does it: an empty `groups` and a placeholder password always come along.
    pub fn create_named(name: &str, external_id: &str, given: &str, family: &str) -> Value {
        json!({
            "schemas": [USER], "userName": name, "name": { "givenName": given, "familyName": family },
            "emails": [{ "primary": true, "value": name, "type": "work" }],
            "displayName": format!("{given} {family}"), "locale": "en-US",
            "externalId": external_id, "groups": [], "password": "q7-Placeholder", "active": true,
        })
    }

    /// Pathless, without a path.
    pub fn deactivate() -> Value {
        json!([{ "op": "replace", "value": { "active": false } }])
    }

    pub fn reactivate() -> Value {
        json!([{ "op": "replace", "value": { "active": true } }])
    }

    /// Sent with each membership change; the readOnly `id` must not be an error.
    pub fn rename_group(id: &str, name: &str) -> Value {
        json!([{ "op": "replace", "value": { "id": id, "displayName": name } }])
    }

    pub fn add_member(id: &str, name: &str) -> Value {
        json!([{ "op": "add", "path": "members", "value": [{ "value": id, "display": name }] }])
    }

    pub fn remove_member(id: &str) -> Value {
        json!([{ "op": "remove", "path": format!("members[value eq \"{id}\"]") }])
    }
}

/// As Entra sends it, in both of its dialects.
pub mod entra {
    use super::*;

    pub fn create(name: &str, external_id: &str) -> Value {
        json!({
            "schemas": [USER, ENTERPRISE], "externalId": external_id, "userName": name, "active": true,
            "displayName": "Joy Vance", "emails": [{ "primary": true, "type": "work", "value": name }],
            "meta": { "resourceType": "User" },
            "name": { "formatted": "Joy Vance", "familyName": "Vance", "givenName": "Joy" },
            "roles": [], ENTERPRISE: { "department": "Ops" },
        })
    }

    /// Without the flag: capitalised, one operation a path, booleans as text.
    pub fn old_update() -> Value {
        json!([
            { "op": "Replace", "path": "displayName", "value": "Joy V." },
            { "op": "Add", "path": "name.givenName", "value": "Joyce" },
            { "op": "Replace", "path": "emails[type eq \"work\"].value", "value": "joyce@corp.test" },
            { "op": "Add", "path": format!("{ENTERPRISE}:department"), "value": "Finance" },
        ])
    }

    pub fn old_deactivate() -> Value {
        json!([{ "op": "Replace", "path": "active", "value": "False" }])
    }

    pub fn old_reactivate() -> Value {
        json!([{ "op": "Replace", "path": "active", "value": "True" }])
    }

    pub fn old_add_member(id: &str) -> Value {
        json!([{ "op": "Add", "path": "members", "value": [{ "value": id }] }])
    }

    pub fn old_remove_member(id: &str) -> Value {
        json!([{ "op": "Remove", "path": "members", "value": [{ "value": id }] }])
    }

    /// With the flag `aadOptscim062020`: one pathless object, dotted and URN keys.
    pub fn new_update() -> Value {
        let department = format!("{ENTERPRISE}:department");
        json!([{ "op": "replace", "value": {
            "displayName": "Joy V.", "name.givenName": "Joyce", "emails[type eq \"work\"].value": "joyce@corp.test",
            department: "Finance",
        } }])
    }

    pub fn new_deactivate() -> Value {
        json!([{ "op": "replace", "path": "active", "value": false }])
    }

    pub fn new_reactivate() -> Value {
        json!([{ "op": "replace", "value": { "active": true } }])
    }
}

/// As JumpCloud sends it: whole resources by PUT.
pub mod jumpcloud {
    use super::*;

    pub fn create(name: &str, external_id: &str) -> Value {
        json!({
            "schemas": [USER, ENTERPRISE], "userName": name, "externalId": external_id, "active": true,
            "displayName": "Una Reed", "name": { "familyName": "Reed", "givenName": "Una", "formatted": "Una Reed" },
            "emails": [{ "value": name, "type": "work", "primary": true }],
            "title": "", "addresses": [], "phoneNumbers": [],
        })
    }

    /// The whole of it again, with `active` as wanted.
    pub fn put(name: &str, external_id: &str, id: &str, active: bool) -> Value {
        let mut whole = create(name, external_id);
        whole["id"] = id.into();
        whole["active"] = active.into();
        whole["displayName"] = "Una R.".into();
        whole
    }

    pub fn remove_member(id: &str) -> Value {
        json!([{ "op": "remove", "path": "members", "value": [{ "value": id }] }])
    }
}
