//! The settings of one identity provider of SAML: the program makes them from the configuration.

use std::sync::Arc;

use portcullis_keys::Secret;

use super::{DecryptionKey, SpCertificate, SpKeyError, SpSigner};

/// One identity provider of SAML, ready to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamlSettings {
    /// Its name in the configuration.
    pub name: String,
    /// The source of its metadata.
    pub metadata: MetadataSource,
    /// Its entity ID, where the configuration says which one of the metadata is meant.
    pub entity_id: Option<String>,
    /// The certificates, DER, of which one must have signed the metadata; none where it needs no signature.
    pub pinned: Vec<Vec<u8>>,
    /// Our own entity ID.
    pub sp_entity_id: String,
    /// The address that responses are posted to.
    pub acs_url: String,
    /// The address of our single logout.
    pub slo_url: String,
    /// Our own keys.
    pub keys: Arc<SpKeys>,
    /// The format of the name that is asked for.
    pub name_id_policy: Option<String>,
    /// Asks the person to sign in though they are signed in there.
    pub force_authn: bool,
    /// The authentication contexts of which one is asked for, and must be stated.
    pub authn_context: Vec<String>,
    /// Sends requests by form, where the identity provider takes them so.
    pub posts_requests: bool,
    /// Lets a signing key that was not in force before wait for an operator.
    pub approves_keys: bool,
    /// Takes a response that nobody here asked for.
    pub accepts_unsolicited: bool,
    /// Takes RSA-SHA1 and SHA-1 digests.
    pub allow_sha1: bool,
    /// Takes AES-CBC though no signature protects the ciphertext.
    pub allow_cbc: bool,
    /// The attribute that names a person for good, where the NameID does not.
    pub subject: Option<String>,
    /// The attributes that hold what is known of a person.
    pub names: AttributeNames,
    /// The attribute by which a subject that nobody knows is matched; `None` without a directory.
    pub link: Option<String>,
    /// The difference between the clocks that is put up with, in milliseconds.
    pub skew_ms: i64,
    /// True where our own public URL is on this machine: only then may the identity provider be, over plain http.
    pub loopback: bool,
}

/// The source of metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataSource {
    /// The document itself, from the configuration or a file that it names.
    Document(Arc<str>),
    /// An address that it is fetched from, again and again.
    Address(String),
}

/// The names of attributes, each with those that are looked for, the first one first: product after product calls the same
/// thing otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttributeNames {
    /// The e-mail address.
    pub email: Vec<String>,
    /// The name for people.
    pub name: Vec<String>,
    /// The name a person signs in under.
    pub user_name: Vec<String>,
    /// The groups.
    pub groups: Vec<String>,
}

/// Our own keys for SAML: the pair that signs, and those that identity providers may encrypt to.
pub struct SpKeys {
    pub(super) signer: SpSigner,
    pub(super) decryption: Vec<DecryptionKey>,
    pub(super) certificates: Vec<SpCertificate>,
}

impl SpKeys {
    /// Reads pairs of private key and certificate, PEM both: the first signs, each decrypts and stands in our metadata.
    ///
    /// # Errors
    /// The number of the pair, counted from 0, and its fault. A pair that cannot decrypt (EC) only signs.
    pub fn read_pairs(pairs: &[(Secret, String)]) -> Result<Self, (usize, SpKeyError)> {
        let mut signers = Vec::new();
        for (nth, (key, certificate)) in pairs.iter().enumerate() {
            signers.push(SpSigner::read_pem(key, certificate).map_err(|error| (nth, error))?);
        }
        let certificates = signers.iter().map(|signer| signer.certificate().clone()).collect();
        let decryption = pairs.iter().filter_map(|(key, _)| DecryptionKey::from_pem(key).ok()).collect();
        let signer = signers.into_iter().next().ok_or((0, SpKeyError::Certificate))?;
        Ok(Self { signer, decryption, certificates })
    }
}

impl PartialEq for SpKeys {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for SpKeys {}

impl std::fmt::Debug for SpKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SpKeys({})", self.certificates.len())
    }
}
