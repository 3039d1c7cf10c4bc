//! Who is signed in, for single-page apps: the JSON of `me`.
//!
//! The browser's own script reads it on the app's origin. It says what the identity headers say to the application,
//! and nothing that could be used elsewhere: no token, no session id, no claim of the IdP.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use portcullis_policy::{Attributes, Principal, Timestamp};
use serde::Serialize;

use super::{Links, json_answer};

/// The answer of `me` for a person who is signed in until `expires`, if the session is used until then.
///
/// ```json
/// {"signed_in":true,"user":"alice@example.com","name":"Alice Example","email":"alice@example.com",
///  "preferred_username":"alice","groups":["Engineering"],"roles":["workspace.member"],
///  "expires":"2026-01-31T17:00:00Z","logout_url":"/.portcullis/logout"}
/// ```
pub(crate) fn answer_me(who: &Principal, expires: Timestamp, place: &Links<'_>) -> Response<Bytes> {
    let facts = who.facts();
    let mut answer = json_answer(
        StatusCode::OK,
        &Me {
            signed_in: true,
            user: who.name(),
            name: facts.attributes.first_text(Attributes::NAME),
            email: facts.email.as_deref(),
            preferred_username: facts.attributes.first_text(Attributes::PREFERRED_USERNAME),
            groups: facts.groups.iter().map(|group| &**group).collect(),
            roles: who.roles().names().iter().map(|role| &**role).collect(),
            expires: jiff::Timestamp::from_second(expires.seconds())
                .map(|t| t.to_string())
                .unwrap_or_default(),
            logout_url: format!("{}/logout", place.ours),
        },
    );
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("Cookie"));
    answer
}

/// Fields that are not known are left out; lists are always there.
#[derive(Serialize)]
struct Me<'a> {
    signed_in: bool,
    user: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preferred_username: Option<&'a str>,
    groups: Vec<&'a str>,
    roles: Vec<&'a str>,
    expires: String,
    logout_url: String,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use portcullis_policy::{
        AccountId, App, AppId, Bindings, Facts, GroupBinding, IdentityHeaders, OrgId, Policy, RulesVersion,
        Seq, UserFrom,
    };

    use super::*;

    #[test]
    fn it_says_what_the_headers_say() {
        let app = App::new(AppId::ONLY, OrgId::ONLY, "h", "", "/.portcullis", vec![]).unwrap();
        let owners = [GroupBinding { group: "Owners".into(), role: "admin".into() }];
        let bindings = Bindings::new(&["admin".into()], &[], &owners).unwrap();
        let headers = IdentityHeaders::x_forwarded(UserFrom::UserName);
        let policy = Policy::new(RulesVersion(1), vec![app], bindings, headers);
        let facts = Arc::new(Facts {
            account: AccountId(1),
            org: OrgId::ONLY,
            stable_id: "2819c223".into(),
            user_name: Some("alice".into()),
            id: Some("2819c223".into()),
            external_id: Some("00u1".into()),
            subject: Some("sub-1".into()),
            email: None,
            attributes: Attributes::default().with_texts(Attributes::NAME, ["Alice \"A\" Example"]),
            groups: Arc::new(["Owners".into(), "Everyone".into()]),
        });
        let who = policy.describe_person(&facts, Seq(1)).unwrap();
        let place = Links {
            app: "h",
            host: "h",
            home: "/",
            ours: "/.portcullis",
            has_choice: false,
            language: crate::pages::Language::English,
            support: None,
        };

        let answer = answer_me(&who, Timestamp(1_769_878_800_999), &place);

        let said: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
        let expected = serde_json::json!({
            "signed_in": true, "user": "alice", "name": "Alice \"A\" Example",
            "groups": ["Owners", "Everyone"], "roles": ["admin"],
            "expires": "2026-01-31T17:00:00Z", "logout_url": "/.portcullis/logout",
        });
        assert_eq!(said, expected);
        assert_eq!(answer.headers()["vary"], "Cookie");
        for hidden in ["sub-1", "00u1", "2819c223"] {
            assert!(!String::from_utf8_lossy(answer.body()).contains(hidden));
        }
    }
}
