//! What the provider knows about a person.

use serde_json::{Map, Value, json};

/// The claims of the provider about a person.
#[derive(Clone)]
pub struct Profile {
    pub subject: String,
    pub name: String,
    pub user_name: String,
    pub email: String,
    pub group: String,
}

impl Profile {
    /// The claims that these scopes ask for (OpenID Connect Core §5.4).
    pub(super) fn claims(&self, scopes: &[String]) -> Map<String, Value> {
        let mut claims = Map::new();
        claims.insert("sub".into(), json!(self.subject));
        for scope in scopes {
            match scope.as_str() {
                "profile" => {
                    claims.insert("name".into(), json!(self.name));
                    claims.insert("preferred_username".into(), json!(self.user_name));
                }
                "email" => {
                    claims.insert("email".into(), json!(self.email));
                    claims.insert("email_verified".into(), json!(true));
                }
                "groups" => {
                    claims.insert("groups".into(), json!([self.group]));
                }
                _ => {}
            }
        }
        claims
    }
}
