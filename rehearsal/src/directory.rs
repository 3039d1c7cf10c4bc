//! The rehearsal IdP's directory: four people in two groups, and the SCIM client that pushes every change.
//!
//! The client is a real one: HTTP to the SCIM port, a bearer token, and the shapes that Okta sends (a user is never
//! deleted; `active` goes alone and without a path; a group change is one PATCH a group). Each call is kept with its
//! answer and the time between the last byte of the one and the last byte of the other. Pushes go one after another,
//! in the order in which the buttons were pressed.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Method, StatusCode};
use portcullis_keys::Secret;
use portcullis_rig::directory::{DirectoryClient, GROUP, okta, patch};
use portcullis_rig::provider::Profile;
use serde_json::{Value, json};

use crate::chain::error_chain;

/// The SCIM endpoint that the directory pushes to.
pub(crate) struct ScimTarget {
    /// The port on 127.0.0.1.
    pub(crate) port: u16,
    pub(crate) token: Secret,
}

/// The path of the SCIM base URL.
const BASE: &str = "/scim/v2";

/// The number of calls that the page shows; older ones are forgotten.
const KEPT: usize = 30;

/// Somebody who works here.
#[derive(Clone)]
pub(crate) struct Employee {
    /// The short name, for buttons and paths.
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    given: &'static str,
    family: &'static str,
    /// The IdP's own id: `sub` in tokens, `externalId` over SCIM.
    subject: &'static str,
    group: usize,
    pub(crate) active: bool,
    /// The id that the other side gave.
    resource: Option<String>,
}

impl Employee {
    pub(crate) fn user_name(&self) -> String {
        format!("{}@fernhill.example", self.key)
    }

    pub(crate) fn group(&self) -> &'static str {
        GROUPS[self.group]
    }

    /// The group that the move button names.
    pub(crate) fn other_group(&self) -> &'static str {
        GROUPS[1 - self.group]
    }

    /// Makes the profile that the OpenID provider gives of them.
    pub(crate) fn profile(&self) -> Profile {
        Profile {
            subject: self.subject.to_owned(),
            name: self.name.to_owned(),
            user_name: self.user_name(),
            email: self.user_name(),
            group: self.group().to_owned(),
        }
    }
}

/// The domain of everybody's e-mail address.
pub(crate) const DOMAIN: &str = "fernhill.example";

/// The groups; moving goes from one to the other.
pub(crate) const GROUPS: [&str; 2] = ["Engineering", "Finance"];

/// The changes that the page's buttons make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ButtonAction {
    Deactivate,
    Reactivate,
    Move,
}

impl ButtonAction {
    /// The act of a path's last segment.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "deactivate" => Some(Self::Deactivate),
            "reactivate" => Some(Self::Reactivate),
            "move" => Some(Self::Move),
            _ => None,
        }
    }
}

/// One call of the SCIM client.
#[derive(Clone)]
pub(crate) struct ScimCall {
    /// Counts from 1.
    pub(crate) number: u32,
    /// The reason it was made for, as people read it.
    pub(crate) why: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    /// The body that was sent, indented.
    pub(crate) body: String,
    pub(crate) outcome: CallOutcome,
}

/// The end of a call: an answer, or none.
#[derive(Clone)]
pub(crate) enum CallOutcome {
    Answered { status: StatusCode, body: String, sent: Instant, answered: Instant },
    Unanswered(String),
}

impl ScimCall {
    /// Tells whether the other side said that it is done.
    pub(crate) fn succeeded(&self) -> bool {
        matches!(&self.outcome, CallOutcome::Answered { status, .. } if status.is_success())
    }

    /// From the last byte of the request to the last byte of the answer.
    pub(crate) fn took(&self) -> Option<Duration> {
        match &self.outcome {
            CallOutcome::Answered { sent, answered, .. } => Some(answered.saturating_duration_since(*sent)),
            CallOutcome::Unanswered(_) => None,
        }
    }

    /// The call and its answer in one line, for an error message.
    pub(crate) fn told(&self) -> String {
        let answer = match &self.outcome {
            CallOutcome::Answered { status, body, .. } if status.is_success() => status.to_string(),
            CallOutcome::Answered { status, body, .. } => {
                format!("{status} {}", body.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            CallOutcome::Unanswered(cause) => cause.clone(),
        };
        format!("{} {}: {answer}", self.method, self.path)
    }
}

/// The directory and its SCIM client.
pub(crate) struct Directory {
    scim: DirectoryClient,
    desk: Mutex<DirectoryState>,
    /// One push at a time.
    lane: tokio::sync::Mutex<()>,
}

struct DirectoryState {
    people: Vec<Employee>,
    groups: [Option<String>; 2],
    calls: VecDeque<ScimCall>,
    made: u32,
}

/// The directory could not be pushed at the start.
#[derive(Debug, thiserror::Error)]
#[error("the directory could not be pushed to the SCIM port: {0}")]
pub(crate) struct PushError(String);

impl Directory {
    /// Four people in two groups, none of them pushed yet.
    pub(crate) fn new(scim: ScimTarget) -> Self {
        let person = |key, given, family, name, subject, group| Employee {
            key,
            name,
            given,
            family,
            subject,
            group,
            active: true,
            resource: None,
        };
        let people = vec![
            person("alice", "Alice", "Archer", "Alice Archer", "fh-1001", 0),
            person("bob", "Bob", "Brook", "Bob Brook", "fh-1002", 1),
            person("carol", "Carol", "Chen", "Carol Chen", "fh-1003", 0),
            person("dave", "Dave", "Dunn", "Dave Dunn", "fh-1004", 1),
        ];
        let scim = DirectoryClient::new((Ipv4Addr::LOCALHOST, scim.port).into(), scim.token.expose())
            .speaking("application/scim+json; charset=utf-8");
        let desk = DirectoryState { people, groups: [None, None], calls: VecDeque::new(), made: 0 };
        Self { scim, desk: Mutex::new(desk), lane: tokio::sync::Mutex::default() }
    }

    /// Everybody, as the directory has them now.
    pub(crate) fn people(&self) -> Vec<Employee> {
        self.desk().people.clone()
    }

    /// Somebody, by their short name.
    pub(crate) fn person(&self, key: &str) -> Option<Employee> {
        self.desk().people.iter().find(|person| person.key == key).cloned()
    }

    /// The last calls, newest first.
    pub(crate) fn calls(&self) -> Vec<ScimCall> {
        self.desk().calls.iter().rev().cloned().collect()
    }

    /// Pushes everybody, the groups, and who is in them: what an IdP does when an app is assigned.
    ///
    /// # Errors
    /// A call that was not answered with success.
    pub(crate) async fn push_all(&self) -> Result<(), PushError> {
        let _turn = self.lane.lock().await;
        let people = self.people();
        let mut members: [Vec<Value>; 2] = [vec![], vec![]];
        for (at, person) in people.iter().enumerate() {
            let why = format!("Create {}", person.name);
            let body = okta::create_named(&person.user_name(), person.subject, person.given, person.family);
            let id = self.create(why, "/Users", body).await?;
            members[person.group].push(json!({ "value": id, "display": person.user_name() }));
            self.desk().people[at].resource = Some(id);
        }
        for (at, (name, members)) in GROUPS.iter().zip(members).enumerate() {
            let group = json!({ "schemas": [GROUP], "displayName": name, "members": [] });
            let id = self.create(format!("Create the group {name}"), "/Groups", group).await?;
            let operations = json!([{ "op": "add", "path": "members", "value": members }]);
            let filled = self
                .call(
                    format!("Fill the group {name}"),
                    Method::PATCH,
                    format!("/Groups/{id}"),
                    patch(operations),
                )
                .await;
            if !filled.succeeded() {
                return Err(PushError(filled.told()));
            }
            self.desk().groups[at] = Some(id);
        }
        Ok(())
    }

    /// Does what a button says and pushes it: the calls that were made, in order. Pressing twice pushes twice, as
    /// IdPs do. A move that was not delivered whole is not made.
    pub(crate) async fn press(&self, key: &str, act: ButtonAction) -> Vec<ScimCall> {
        let _turn = self.lane.lock().await;
        let Some(person) = self.person(key) else { return vec![] };
        // Without an id the first push failed, and the rehearsal has not started.
        let Some(id) = &person.resource else { return vec![] };
        match act {
            ButtonAction::Deactivate | ButtonAction::Reactivate => {
                let active = act == ButtonAction::Reactivate;
                self.change(key, |person| person.active = active);
                let why = format!("{} {}", if active { "Re-activate" } else { "Deactivate" }, person.name);
                let operations = if active { okta::reactivate() } else { okta::deactivate() };
                vec![self.call(why, Method::PATCH, format!("/Users/{id}"), patch(operations)).await]
            }
            ButtonAction::Move => {
                let (from, to) = (person.group, 1 - person.group);
                let groups = self.desk().groups.clone();
                let (Some(left), Some(joined)) = (&groups[from], &groups[to]) else { return vec![] };
                // First what takes away: at no moment are they in both.
                let leave = okta::remove_member(id);
                let why = format!("Take {} out of {}", person.name, GROUPS[from]);
                let out = self.call(why, Method::PATCH, format!("/Groups/{left}"), patch(leave)).await;
                if !out.succeeded() {
                    return vec![out];
                }
                let join = okta::add_member(id, &person.user_name());
                let why = format!("Put {} into {}", person.name, GROUPS[to]);
                let into = self.call(why, Method::PATCH, format!("/Groups/{joined}"), patch(join)).await;
                if into.succeeded() {
                    self.change(key, |person| person.group = to);
                }
                vec![out, into]
            }
        }
    }

    async fn create(&self, why: String, path: &str, body: Value) -> Result<String, PushError> {
        let call = self.call(why, Method::POST, path.to_owned(), body).await;
        let id = match &call.outcome {
            CallOutcome::Answered { body, .. } if call.succeeded() => serde_json::from_str::<Value>(body)
                .ok()
                .and_then(|resource| resource.get("id")?.as_str().map(str::to_owned)),
            _ => None,
        };
        id.ok_or_else(|| PushError(call.told()))
    }

    /// Makes one call and keeps it.
    async fn call(&self, why: String, method: Method, path: String, body: Value) -> ScimCall {
        let outcome = self.send(&method, &path, &body).await;
        let path = format!("{BASE}{path}");
        let mut desk = self.desk();
        desk.made += 1;
        let call = ScimCall { number: desk.made, why, method, path, body: format!("{body:#}"), outcome };
        if desk.calls.len() == KEPT {
            desk.calls.pop_front();
        }
        desk.calls.push_back(call.clone());
        call
    }

    async fn send(&self, method: &Method, path: &str, body: &Value) -> CallOutcome {
        match self.scim.try_send(method.clone(), path, Some(body)).await {
            Ok(answer) => {
                let text = answer.text();
                let body = match serde_json::from_str::<Value>(&text) {
                    Ok(json) => format!("{json:#}"),
                    Err(_) => text,
                };
                CallOutcome::Answered {
                    status: answer.status,
                    body,
                    sent: answer.sent,
                    answered: answer.answered,
                }
            }
            Err(cause) => CallOutcome::Unanswered(error_chain(&cause).to_string()),
        }
    }

    fn change(&self, key: &str, how: impl FnOnce(&mut Employee)) {
        if let Some(person) = self.desk().people.iter_mut().find(|person| person.key == key) {
            how(person);
        }
    }

    fn desk(&self) -> MutexGuard<'_, DirectoryState> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::extract::Request as Received;
    use axum::http::header;
    use axum::response::IntoResponse as _;
    use http_body_util::BodyExt as _;
    use std::sync::Arc;

    type Heard = Arc<Mutex<Vec<(String, Value)>>>;

    #[tokio::test]
    async fn the_start_pushes_everybody_and_who_is_where() {
        let (directory, heard) = against(StatusCode::CREATED).await;
        directory.push_all().await.unwrap();
        let heard = heard.lock().unwrap();
        let calls: Vec<&str> = heard.iter().map(|(call, _)| call.as_str()).collect();
        let users = ["POST /scim/v2/Users"; 4];
        let groups = [
            "POST /scim/v2/Groups",
            "PATCH /scim/v2/Groups/id-5",
            "POST /scim/v2/Groups",
            "PATCH /scim/v2/Groups/id-7",
        ];
        assert_eq!(calls, [users.as_slice(), groups.as_slice()].concat());
        assert_eq!(heard[0].1["userName"], "alice@fernhill.example");
        assert_eq!(heard[0].1["externalId"], directory.person("alice").unwrap().profile().subject);
        assert_eq!(heard[5].1["Operations"][0]["value"][0]["value"], "id-1");
    }

    #[tokio::test]
    async fn buttons_send_what_okta_sends() {
        let (directory, heard) = against(StatusCode::CREATED).await;
        directory.push_all().await.unwrap();
        let start = heard.lock().unwrap().len();
        let out = directory.press("alice", ButtonAction::Deactivate).await;
        assert!(out[0].took().is_some() && out[0].succeeded());
        assert!(!directory.person("alice").unwrap().active);
        directory.press("alice", ButtonAction::Move).await;
        assert_eq!(directory.person("alice").unwrap().group(), "Finance");

        let heard = heard.lock().unwrap();
        let operation = |at: usize| (heard[start + at].0.as_str(), &heard[start + at].1["Operations"][0]);
        assert_eq!(
            operation(0),
            ("PATCH /scim/v2/Users/id-1", &json!({"op": "replace", "value": {"active": false}}))
        );
        let remove = json!({"op": "remove", "path": "members[value eq \"id-1\"]"});
        assert_eq!(operation(1), ("PATCH /scim/v2/Groups/id-5", &remove));
        let member = json!([{"value": "id-1", "display": "alice@fernhill.example"}]);
        assert_eq!(
            operation(2),
            ("PATCH /scim/v2/Groups/id-7", &json!({"op": "add", "path": "members", "value": member}))
        );
    }

    #[tokio::test]
    async fn a_refused_push_says_so_and_moves_nobody() {
        let (directory, _) = against(StatusCode::SERVICE_UNAVAILABLE).await;
        let refused = directory.push_all().await.unwrap_err().to_string();
        assert!(refused.contains("POST /scim/v2/Users: 503"), "{refused}");
        assert!(directory.press("alice", ButtonAction::Move).await.is_empty(), "she has no id yet");
        assert_eq!(directory.person("alice").unwrap().group(), "Engineering");
        assert!(directory.press("nobody", ButtonAction::Deactivate).await.is_empty());
    }

    #[tokio::test]
    async fn nobody_listening_is_told() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let refused =
            Directory::new(ScimTarget { port: free, token: Secret::new("t") }).push_all().await.unwrap_err();
        assert!(refused.to_string().contains("could not be reached"), "{refused}");
    }

    /// A directory whose calls are answered with `status` and a fresh id, and what was heard.
    async fn against(status: StatusCode) -> (Directory, Heard) {
        let heard = Heard::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = heard.clone();
        let router = Router::new().fallback(move |request: Received| async move {
            assert_eq!(request.headers()[header::AUTHORIZATION], "Bearer t-1");
            let call = format!("{} {}", request.method(), request.uri());
            let body = request.into_body().collect().await.unwrap().to_bytes();
            let mut heard = kept.lock().unwrap();
            heard.push((call, serde_json::from_slice(&body).unwrap()));
            (status, json!({ "id": format!("id-{}", heard.len()) }).to_string()).into_response()
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Directory::new(ScimTarget { port, token: Secret::new("t-1") }), heard)
    }
}
