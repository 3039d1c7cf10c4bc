//! What the two processes of a hand-over say to each other.
//!
//! The one that takes over leads: it asks, and the one that was replaced answers, by the number of the question. Who
//! hears a question that it does not know cannot do what it asks, and ends with everything that it carries.

use std::path::PathBuf;

use portcullis_policy::{AccountId, Change, Generation, OrgId, Scope, SessionHash, Timestamp};
use serde::{Deserialize, Serialize};

/// The version of these words. Another one hands nothing over to this one.
pub(super) const WORDS: u32 = 1;

/// Something that is asked, or answered, under a number.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbered<T> {
    pub(super) number: u64,
    pub(super) says: T,
}

/// What the process that leads asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Demand {
    /// It has read its configuration, and would take over.
    HandOver(Successor),
    /// It serves on every socket.
    Serving,
    /// It has not come to serve.
    Failed { error: String },
    /// These changes are committed: nothing that they forbid may go on.
    Apply { changes: Vec<ToldChange> },
    /// The files of the configuration have changed.
    Reload,
    /// The access log may have another file by now.
    ReopenLogs,
    /// When were clients heard last?
    Heard,
    /// It leaves, and what is in flight may take so long.
    Leave { grace_ms: u64 },
}

/// The process that would take over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Successor {
    pub(super) words: u32,
    pub(super) version: String,
    pub(super) pid: u32,
    /// The state folder and the database, without links: it must keep both.
    pub(super) state: PathBuf,
    pub(super) database: PathBuf,
}

/// What the process that was replaced answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    /// It has stopped to write, and hands over: itself, as a descriptor of its process; the locks of the state folder and
    /// of the database; its sockets; and a line and a process for each that it had replaced.
    HandedOver { version: String, pid: u32, sockets: usize, former: Vec<Former> },
    /// It does not hand over.
    Refused { why: String },
    /// It is done, and so many exchanges were cut.
    Done { exchanges: usize },
    /// So many that were cut have not left.
    NotGone { left: usize },
    /// The sessions whose clients were heard, and when: Unix time in milliseconds.
    Heard { sessions: Vec<(String, i64)> },
}

/// A process that was replaced before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Former {
    pub(crate) pid: u32,
    pub(crate) version: String,
}

/// A [`Change`], as it is told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToldChange {
    Out { account: i64, generation: i64 },
    Ended { account: i64, session: String },
    Epoch { scope: ToldScope, to: u64 },
    Reconsider { account: i64 },
    ReconsiderAll { org: u32 },
}

/// A [`Scope`], as it is told.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToldScope {
    Deployment,
    Org(u32),
    Idp(u32, String),
}

impl From<&Change> for ToldChange {
    fn from(change: &Change) -> Self {
        match change {
            Change::Out(account, generation) => Self::Out { account: account.0, generation: generation.0 },
            Change::Ended(account, session) => {
                Self::Ended { account: account.0, session: write_hash(*session) }
            }
            Change::Epoch(scope, to) => Self::Epoch { scope: scope.into(), to: *to },
            Change::Reconsider(account) => Self::Reconsider { account: account.0 },
            Change::ReconsiderAll(org) => Self::ReconsiderAll { org: org.0 },
        }
    }
}

impl ToldChange {
    /// The change; `None` where it cannot be one.
    pub(super) fn read(&self) -> Option<Change> {
        Some(match self {
            Self::Out { account, generation } => Change::Out(AccountId(*account), Generation(*generation)),
            Self::Ended { account, session } => Change::Ended(AccountId(*account), read_hash(session)?),
            Self::Epoch { scope, to } => Change::Epoch(scope.into(), *to),
            Self::Reconsider { account } => Change::Reconsider(AccountId(*account)),
            Self::ReconsiderAll { org } => Change::ReconsiderAll(OrgId(*org)),
        })
    }
}

impl From<&Scope> for ToldScope {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::Deployment => Self::Deployment,
            Scope::Org(org) => Self::Org(org.0),
            Scope::Idp(org, idp) => Self::Idp(org.0, idp.as_ref().to_owned()),
        }
    }
}

impl From<&ToldScope> for Scope {
    fn from(scope: &ToldScope) -> Self {
        match scope {
            ToldScope::Deployment => Self::Deployment,
            ToldScope::Org(org) => Self::Org(OrgId(*org)),
            ToldScope::Idp(org, idp) => Self::Idp(OrgId(*org), idp.as_str().into()),
        }
    }
}

/// The sessions that were heard, as they are told.
pub(super) fn write_heard(heard: &[(SessionHash, Timestamp)]) -> Vec<(String, i64)> {
    heard.iter().map(|(session, at)| (write_hash(*session), at.0)).collect()
}

/// And read again; what is no session is left out.
pub(super) fn read_heard(told: &[(String, i64)]) -> Vec<(SessionHash, Timestamp)> {
    told.iter().filter_map(|(session, at)| Some((read_hash(session)?, Timestamp(*at)))).collect()
}

fn write_hash(session: SessionHash) -> String {
    session.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn read_hash(text: &str) -> Option<SessionHash> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| u8::try_from(digit.to_digit(16)?).ok()).collect();
    let bytes: Vec<u8> = digits?.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
    (text.len() == 64).then(|| bytes.try_into().ok()).flatten().map(SessionHash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_is_read_as_it_was() {
        let hash = SessionHash(std::array::from_fn(|place| u8::try_from(place * 7).unwrap()));
        let scopes = [Scope::Deployment, Scope::Org(OrgId(3)), Scope::Idp(OrgId(1), "o\"p".into())];
        let changes = [
            Change::Out(AccountId(i64::MAX), Generation(-1)),
            Change::Ended(AccountId(2), hash),
            Change::Reconsider(AccountId(0)),
            Change::ReconsiderAll(OrgId(7)),
        ];
        let epochs = scopes.into_iter().map(|scope| Change::Epoch(scope, u64::MAX));
        for change in changes.into_iter().chain(epochs) {
            let text = serde_json::to_string(&ToldChange::from(&change)).unwrap();
            let told: ToldChange = serde_json::from_str(&text).unwrap();
            assert_eq!(told.read(), Some(change), "{text}");
        }
        let heard = [(hash, Timestamp(5))];
        assert_eq!(read_heard(&write_heard(&heard)), heard);
    }

    #[test]
    fn what_is_no_session_is_none() {
        let nearly = "0".repeat(63);
        for text in ["", "zz", &nearly, &format!("{nearly}é"), &"0".repeat(66), &format!("{nearly}g")] {
            assert_eq!(read_hash(text), None, "{text}");
            assert_eq!(ToldChange::Ended { account: 1, session: text.to_owned() }.read(), None);
        }
    }

    #[test]
    fn a_word_that_is_not_known_is_no_word() {
        for text in [
            r#"{"number":1,"says":{"leap":{}}}"#,
            r#"{"number":1,"says":{"apply":{"changes":[{"jump":1}]}}}"#,
        ] {
            assert!(serde_json::from_str::<Numbered<Demand>>(text).is_err(), "{text}");
        }
    }
}
