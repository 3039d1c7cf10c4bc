//! The configuration as it is written: the table of contents of the file. What it comes to is [`File`](crate::File).

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use portcullis_policy::{Network, PublicUrl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::at::{At, show_value};
use crate::headers::Headers;
use crate::http_client::HttpClient;
use crate::idps::Idps;
use crate::import::ImportBlock;
use crate::limits::Limits;
use crate::listen::Listen;
use crate::log::LogBlock;
use crate::network::NetworkText;
use crate::node::YamlNode;
use crate::pages::{AppBlock, Support};
use crate::read::{FromYaml, Given, read_text, section, words};
use crate::report::Report;
use crate::routes::RouteBlock;
use crate::scim::ScimBlock;
use crate::secret::MasterKey;
use crate::session::SessionBlock;
use crate::store::StoreLocation;
use crate::units::Period;
use crate::upstream::{UpstreamBlock, Upstreams};
use crate::web::PublicUrlText;

section! {
    /// The configuration of Portcullis: one app, one directory, one or several identity providers.
    pub(crate) struct RootBlock {
        /// Where people reach the application: https, or plain http on this machine.
        #[schemars(with = "PublicUrlText")]
        pub(crate) public_url: Given<PublicUrl>,
        /// Where the application is. A plain address is short for a block with `url`.
        #[schemars(with = "UpstreamBlock")]
        pub(crate) upstream: Given<UpstreamBlock>,
        /// Further applications behind the same address, each by a name of your own, for rules that name it.
        #[schemars(with = "Upstreams")]
        pub(crate) upstreams: Upstreams = "{}",
        /// Where users come from.
        pub(crate) provisioning: ProvisioningWord = "scim",
        /// The identity providers, each by a name of your own.
        #[schemars(with = "Idps")]
        pub(crate) idps: Given<Idps>,
        /// The directory and the SCIM client that feeds it. Needed where provisioning is `scim`.
        pub(crate) scim: Option<ScimBlock>,
        /// The folder into which files of people are dropped. Only with provisioning `invited`.
        pub(crate) import: Option<ImportBlock>,
        /// The bindings file: which groups give which roles.
        pub(crate) bindings: Option<String>,
        /// The application, as people know it.
        pub(crate) app: AppBlock = "{}",
        /// Where people find help, on our own pages where something went wrong: a text, or an address (https, mailto).
        pub(crate) support: Option<Support>,
        /// Who may ask for which paths. Left out, the whole site is for signed-in people; with routes, what matches
        /// none is refused.
        #[schemars(with = "Option<Vec<RouteBlock>>")]
        pub(crate) routes: Option<Vec<Given<RouteBlock>>>,
        /// How long a signed-in browser stays signed in.
        pub(crate) session: SessionBlock = "{}",
        /// How the application is told who is there.
        pub(crate) headers: Headers = "{}",
        /// The addresses we listen on.
        pub(crate) listen: Listen = "{}",
        /// Where what must last is kept: `sqlite`, or a block with `sqlite` and a path.
        pub(crate) store: StoreLocation = "sqlite",
        /// Where our own pages are, below the path of `public_url`.
        pub(crate) prefix: Prefix = "/.portcullis",
        /// What is written about what happens.
        pub(crate) log: LogBlock = "{}",
        /// How much a client may ask of us.
        pub(crate) limits: Limits = "{}",
        /// How long exchanges in flight may take to end once the program is asked to leave.
        #[schemars(with = "Period")]
        pub(crate) stop_grace: Duration = "30s",
        /// How long a process that was replaced by an upgrade may carry what had begun there.
        #[schemars(with = "Period")]
        pub(crate) upgrade_grace: Duration = "12h",
        /// The proxies before us, whose word on a client's address is believed.
        #[schemars(with = "Vec<NetworkText>")]
        pub(crate) trusted_proxies: Vec<Network> = "[]",
        /// The requests we make ourselves, to the identity provider.
        pub(crate) http_client: HttpClient = "{}",
        /// The folder of the database, the sockets, the lock and the master key; /var/lib/portcullis where left out,
        /// for an ordinary user portcullis in the XDG state folder.
        pub(crate) state: Option<PathBuf>,
        /// The master key, 64 hexadecimal digits; made in the state folder at the first start where left out.
        pub(crate) keys: Option<MasterKey>,
    }
}

words! {
    /// Where users come from.
    pub(crate) enum ProvisioningWord {
        /// The directory: a user must exist there and be active.
        Scim = "scim",
        /// `portcullis user add` and `portcullis import`.
        Invited = "invited",
        /// Nowhere: whoever the identity provider lets in.
        None = "none",
    }
    refused { "jit" => "" }
}

/// The path of our own pages: `/.portcullis`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(pub(crate) String);

impl FromYaml for Prefix {
    const WANTED: &'static str = "a path such as /.portcullis";

    fn read(node: &YamlNode, at: &At, report: &mut Report<'_>) -> Option<Self> {
        let text = read_text(node, at, report, Self::WANTED)?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "._~-".contains(c);
        let plain = |part: &str| !matches!(part, "" | "." | "..") && part.chars().all(fits);
        if text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(plain)) {
            return Some(Self(text.into()));
        }
        let remedy = "Write a slash and a name of letters, digits, dots and dashes, without a final slash";
        report.add_problem(
            node,
            at,
            format!("\"{}\" cannot be the path of our own pages", show_value(text)),
            remedy,
        )
    }
}

impl JsonSchema for Prefix {
    fn schema_name() -> Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(/[A-Za-z0-9._~-]+)+$" })
    }
}
