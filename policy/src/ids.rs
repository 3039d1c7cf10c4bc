//! The ids that cross crate borders, one type each, so that none is ever taken for another.

use std::fmt;
use std::sync::Arc;

/// An organization: a tenant. Nothing crosses organizations. Most deployments have exactly one, [`OrgId::ONLY`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrgId(pub u32);

impl OrgId {
    /// The organization of a configuration that names none.
    pub const ONLY: OrgId = OrgId(1);
    /// None: what concerns the whole deployment stands under it.
    pub const DEPLOYMENT: OrgId = OrgId(0);
}

/// An app: one public URL and where it goes. A session belongs to one app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppId(pub u32);

impl AppId {
    /// The app of a configuration that names none.
    pub const ONLY: AppId = AppId(1);
}

/// A directory: the users and groups that one SCIM client feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DirectoryId(pub u32);

impl DirectoryId {
    /// The directory of a configuration that names none.
    pub const ONLY: DirectoryId = DirectoryId(1);
}

/// A person who may sign in: a row of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(pub i64);

impl AccountId {
    /// The account that an operator names by its number: `account:18`, in any case. As the name of a person it would be about
    /// somebody else, so nobody has such a name.
    pub fn of_name(name: &str) -> Option<Self> {
        let (word, number) = name.split_once(':')?;
        let number = number.parse().ok().filter(|_| word.eq_ignore_ascii_case("account"))?;
        Some(Self(number))
    }
}

/// The `id` of a SCIM resource (RFC 7643 §3.1): a UUID in text, given by the store, compared byte for byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ResourceId(Arc<str>);

impl ResourceId {
    /// Takes an id as a client or the store wrote it.
    pub fn new(id: &str) -> Self {
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A number on the account that every revocation increases; a session remembers the one it was born with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub i64);

/// A log number: the order of commits, without gaps, never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seq(pub i64);

/// The number of the configuration that a description was resolved with; a reload takes the next number. Of this
/// process only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RulesVersion(pub u64);

/// Wall time in milliseconds since 1970-01-01 UTC. The clock is always an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The system's clock, read once. Only edges call this; everything inside takes `now` as an argument.
    pub fn now() -> Self {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Whole seconds since 1970-01-01 UTC, rounded down.
    pub fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment and `ms` milliseconds, held at the ends of the range.
    pub fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment; negative if it is later.
    pub fn since_ms(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The hash of a session id, 32 bytes. The id itself is in the browser's cookie alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHash(pub [u8; 32]);

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight hex digits tell sessions apart in a log and are of no use to a thief.
        write!(f, "session-")?;
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
