//! What a test bends at the provider. As it is made, nothing is bent.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::signer::Signer;

/// Changes header and claims of an ID token before it is signed.
type Bend = Arc<dyn Fn(&mut Value, &mut Value) + Send + Sync>;
/// Makes a signature.
type Forge = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// The bends.
pub struct Bends {
    /// The key that signs.
    pub signer: Signer,
    /// The key set; the signer's key alone as long as nothing is bent.
    pub keys: Vec<Value>,
    /// Members of the metadata, over the good ones.
    pub metadata: Map<String, Value>,
    /// Claims of whoever signs in, in the ID token, in place of theirs and whatever the scopes.
    pub person: Option<Map<String, Value>>,
    /// The same at userinfo.
    pub userinfo: Option<Map<String, Value>>,
    /// The signer of userinfo answers, and the header that it signs under; they are plain JSON without one.
    pub signed_userinfo: Option<(Signer, Value)>,
    /// Bends header and claims of an ID token.
    pub bend: Option<Bend>,
    /// Signs in place of the signer.
    pub forge: Option<Forge>,
    /// The whole ID token.
    pub id_token: Option<String>,
    /// False where a verifier that does not fit is taken.
    pub checks_pkce: bool,
}

impl Bends {
    pub(super) fn none(signer: Signer) -> Self {
        Self {
            keys: vec![signer.jwk()],
            signer,
            metadata: Map::new(),
            person: None,
            userinfo: None,
            signed_userinfo: None,
            bend: None,
            forge: None,
            id_token: None,
            checks_pkce: true,
        }
    }

    /// The claims that stand in the ID token whoever signs in: none, as long as nobody sets one.
    pub fn person(&mut self) -> &mut Map<String, Value> {
        self.person.get_or_insert_default()
    }

    /// The same at userinfo.
    pub fn userinfo(&mut self) -> &mut Map<String, Value> {
        self.userinfo.get_or_insert_default()
    }
}
