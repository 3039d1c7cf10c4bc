//! The configuration file: a valid [`File`], or a list of all its problems, each with line and remedy.
//!
//! [`load_file`] reads `portcullis.yaml` and the bindings file it names, follows the references to secrets, and checks
//! that what is asked for can work. It never stops at the first problem and never half accepts: a key that this version
//! does not act on is refused by name. It prints nothing, opens no socket, and no message of it holds a secret.
//!
//! Each block of the configuration has a file of its own; [`document`] is the table of contents.
#![forbid(unsafe_code)]

mod at;
mod bindings;
mod certificate;
mod cross;
mod document;
mod environment;
mod extension_urn;
mod extensions;
mod file;
mod headers;
mod home;
mod http_client;
mod idps;
mod import;
mod later;
mod limits;
mod lines;
mod listen;
mod load;
mod log;
mod nearest;
mod network;
mod node;
mod pages;
mod presets;
mod problem;
mod read;
mod report;
mod routes;
mod saml;
mod schema;
mod scim;
mod secret;
mod session;
mod shape;
mod source;
mod store;
mod units;
mod upstream;
mod urls;
mod web;

pub use certificate::{Expiry, read_expiry};
pub use environment::Environment;
pub use extensions::{DeclaredAttribute, ScimExtension, ScimExtensions, ValueType};
pub use file::{File, UserSource};
pub use headers::WritableName;
pub use home::{Home, HomePeople, master_key, read_home};
pub use http_client::HttpClient;
pub use idps::{ClaimsBlock, Domains, IdpEntry, IdpProtocol, LinkBlock, Oidc, Preset, SamlEntry};
pub use import::ImportBlock;
pub use limits::Limits;
pub use lines::KeyLines;
pub use listen::{Certificate, HealthListener, Listen, Plaintext, ProxyListener, ScimListenerBlock, Tls};
pub use load::{
    Checked, Loaded, Opens, check_file, check_text, find_default_path, load_file, load_text, read_headers,
};
pub use log::{LogBlock, LogLevel};
pub use pages::Support;
pub use problem::{Problem, Problems};
pub use saml::{
    AttributesBlock, BindingWord, EntityId, IdpInitiated, MetadataText, NameIdWord, NewKeys,
    PinnedCertificates, SamlBlock,
};
pub use schema::{bindings_schema, json_schema};
pub use scim::{
    BulkSize, OperationCount, RequestCount, ScimBlock, ScimBulk, ScimGroups, ScimNetworks, ScimRate,
    ScimTokens,
};
pub use secret::{MasterKey, SecretText};
pub use session::{SameSite, SessionBlock};
pub use store::ADMIN_SOCKET;
pub use units::{Percent, Size, parse_duration, parse_percent};
pub use upstream::{HealthPath, SecretHeader, ServerNameText, StripPrefix, UpstreamBlock, Upstreams};
pub use urls::list_urls;
pub use web::{Issuer, LONGEST_SOCKET, UpstreamUrl};
