//! Rules that the database can be asked about as a whole: each a question for the rows that break it.

use super::{RESTORE, RuleBook, StoreRule};
use crate::StoreError;
use crate::engine::Engine;

/// One question. Answers are bounded; of more broken rows than are told the number is asked for.
pub(super) struct Question {
    pub(super) rule: StoreRule,
    /// Counts the rows that it is about; empty where another question of the rule does.
    counted: &'static str,
    /// The rows that break it, by name: one column of text. The text goes into further ones.
    broken: &'static str,
    what: &'static str,
    remedy: &'static str,
}

impl Question {
    pub(super) async fn ask_database(&self, engine: &Engine, book: &mut RuleBook) -> Result<(), StoreError> {
        let mut tx = engine.snapshot().await?;
        if !self.counted.is_empty() {
            let rows = tx.one(self.counted, &[]).await?.int(0)?;
            book.count_looked_at(self.rule, usize::try_from(rows).unwrap_or_default());
        }
        // Made of texts of this file alone.
        let first = sqlx::AssertSqlSafe(format!("{} limit 20", self.broken));
        let rows = tx.rows(first, &[]).await?;
        for row in &rows {
            book.add_broken(self.rule, row.text(0)?, self.what, self.remedy);
        }
        if rows.len() == super::TOLD {
            let all = sqlx::AssertSqlSafe(format!("select count(*) from ({})", self.broken));
            let more = tx.one(all, &[]).await?.int(0)?.saturating_sub(20);
            book.update_rule(self.rule, |outcome| outcome.broken += u64::try_from(more).unwrap_or_default());
        }
        Ok(())
    }
}

const MEMBER: &str =
    "Take the member out of the group at the identity provider and put it in again; and report this";
const SIGN_IN: &str = "End the sessions of this person: portcullis user end-sessions; and report this";
const DISABLE: &str = "Disable the person: portcullis user disable, and enable them again if they are to come in; and report this";

pub(super) const QUESTIONS: &[Question] = &[
    Question {
        rule: StoreRule::Totals,
        counted: "/* store check */ select count(*) from tally",
        broken: "/* store check */ select t.kind || 's: ' || cast(t.live as text) from tally t \
                 where t.live <> (select count(*) from resource r where r.organization = t.organization \
                   and r.directory = t.directory and r.kind = t.kind and r.deleted is null)",
        what: "a number that is not how many there are: lists tell a wrong totalResults",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Totals,
        counted: "",
        broken: "/* store check */ select distinct r.kind || 's: no number' from resource r \
                 where r.deleted is null and not exists (select 1 from tally t where t.organization = r.organization \
                   and t.directory = r.directory and t.kind = r.kind)",
        what: "resources that are not counted: lists tell a wrong totalResults",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Members,
        counted: "/* store check */ select count(*) from member",
        broken: "/* store check */ select coalesce(t.id, 'group ' || cast(m.team as text)) || ' has ' || \
                   coalesce(r.id, 'row ' || cast(m.member as text)) \
                 from member m \
                 left join resource t on t.organization = m.organization and t.directory = m.directory \
                   and t.rid = m.team \
                 left join resource r on r.organization = m.organization and r.directory = m.directory \
                   and r.rid = m.member \
                 where t.rid is null or t.kind <> 'Group' or t.deleted is not null \
                   or r.rid is null or r.deleted is not null",
        what: "a membership of what is no group, or of whom is not there",
        remedy: MEMBER,
    },
    Question {
        rule: StoreRule::Accounts,
        counted: "/* store check */ select count(*) from account",
        broken: "/* store check */ select 'account:' || cast(a.id as text) from account a \
                 left join resource r on r.organization = a.organization and r.directory = a.directory \
                   and r.rid = a.resource \
                 where (a.directory is null) <> (a.resource is null) \
                   or a.directory is not null and (r.rid is null or r.account is null or r.account <> a.id)",
        what: "the user that the account names is not there, or names another account",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Sessions,
        counted: "/* store check */ select count(*) from session",
        broken: "/* store check */ select 'account:' || cast(s.account as text) from session s \
                 left join account a on a.organization = s.organization and a.id = s.account \
                 where a.id is null or s.generation > a.generation or octet_length(s.hash) <> 32",
        what: "a session that is ahead of its account, or has none",
        remedy: SIGN_IN,
    },
    Question {
        rule: StoreRule::Sessions,
        counted: "",
        broken: "/* store check */ select 'account:' || cast(s.account as text) from session s \
                 where s.epoch_deployment > coalesce( \
                     (select number from epoch where organization = 0 and idp = ''), 0) \
                   or s.epoch_organization > coalesce( \
                     (select number from epoch where organization = s.organization and epoch.idp = ''), 0) \
                   or s.epoch_idp > coalesce( \
                     (select number from epoch where organization = s.organization and epoch.idp = s.idp), 0)",
        what: "a session that is ahead of an epoch, so that ending all sessions would pass it over",
        remedy: SIGN_IN,
    },
    Question {
        rule: StoreRule::Sessions,
        counted: "",
        broken: "/* store check */ select 'account:' || cast(s.account as text) from session s \
                 cross join account a where a.organization = s.organization and a.id = s.account \
                   and (a.active = 0 or a.disabled = 1) and s.ended is null and s.generation >= a.generation",
        what: "the person is out, and a session of theirs would count once they are let in again",
        remedy: DISABLE,
    },
    Question {
        rule: StoreRule::Links,
        counted: "/* store check */ select count(*) from link",
        broken: "/* store check */ select 'account:' || cast(l.account as text) from link l \
                 cross join account a cross join resource r \
                 where a.organization = l.organization and a.id = l.account and r.organization = a.organization \
                   and r.directory = a.directory and r.rid = a.resource and r.deleted is not null",
        what: "somebody who was removed is linked to a subject still",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Links,
        counted: "",
        broken: "/* store check */ select 'account:' || cast(l.account as text) from link l \
                 where octet_length(l.keyed) <> 32 or not exists (select 1 from bar_key k where k.id = l.key)",
        what: "the subject of a link is not hashed, or by a key that is not there: a removal would bar nobody",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Bars,
        counted: "/* store check */ select count(*) from barred",
        broken: "/* store check */ select 'account:' || cast(b.account as text) from barred b \
                 where b.word not in ('removed', 'disabled') or octet_length(b.keyed) <> 32 \
                   or not exists (select 1 from bar_key k where k.id = b.key)",
        what: "a bar of no word, or by a key that is not there: it keeps nobody out",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Bars,
        counted: "",
        broken: "/* store check */ select 'account:' || cast(b.account as text) from barred b \
                 left join account a on a.organization = b.organization and a.id = b.account \
                 where b.word = 'disabled' and (a.id is null or a.disabled = 0)",
        what: "an operator's bar of somebody who is not disabled: nobody could take it back",
        remedy: DISABLE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "/* store check */ select (select count(*) from event) + (select count(*) from audit) \
                    + (select count(*) from revocation)",
        broken: "/* store check */ select 'event ' || cast(seq as text) from event \
                   where seq > coalesce((select h.seq from head h), -1) \
                 union all select 'audit ' || cast(seq as text) from audit \
                   where seq > coalesce((select h.seq from head h), -1) \
                 union all select 'revocation ' || cast(seq as text) from revocation \
                   where seq > coalesce((select h.seq from head h), -1)",
        what: "an entry is ahead of the head: its number will be given again",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "",
        broken: "/* store check */ select 'resource row ' || cast(rid as text) from resource \
                   where rid > coalesce((select h.last_row from head h), -1) \
                 union all select 'account:' || cast(id as text) from account \
                   where id > coalesce((select h.last_row from head h), -1)",
        what: "a row is ahead of the head: its number will be given again",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "",
        broken: "/* store check */ select 'event ' || cast(seq as text) from event \
                   group by seq having count(*) <> max(n) + 1 \
                 union all select 'audit ' || cast(seq as text) from audit \
                   group by seq having count(*) <> max(n) + 1 \
                 union all select 'revocation ' || cast(seq as text) from revocation \
                   group by seq having count(*) <> max(n) + 1",
        what: "an entry of this commit is missing",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "",
        broken: "/* store check */ select 'revocation ' || cast(v.seq as text) from revocation v \
                 where v.kind not in ('out', 'ended', 'epoch', 'reconsider', 'all') \
                   or v.kind in ('out', 'ended', 'reconsider') and v.account is null \
                   or v.kind in ('out', 'epoch') and v.number is null \
                   or v.kind = 'ended' and coalesce(octet_length(v.session), 0) <> 32",
        what: "a revocation that cannot be read",
        remedy: RESTORE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "",
        broken: "/* store check */ select 'account:' || cast(a.id as text) from revocation v \
                 cross join account a where v.kind = 'out' and a.organization = v.organization \
                   and a.id = v.account and a.generation < v.number",
        what: "the account is of a generation before one that was announced: sessions that ended would count",
        remedy: DISABLE,
    },
    Question {
        rule: StoreRule::Log,
        counted: "",
        broken: "/* store check */ select 'revocation ' || cast(v.seq as text) from revocation v \
                 where v.kind = 'epoch' and v.number > coalesce((select number from epoch e \
                   where e.organization = v.organization and e.idp = coalesce(v.idp, '')), 0)",
        what: "the epoch that it announced is behind: sessions that ended would count",
        remedy: "End all sessions once more, as it was done; and report this",
    },
    Question {
        rule: StoreRule::Repeats,
        counted: "/* store check */ select count(*) from repeat",
        broken: "/* store check */ select p.id from repeat p \
                 left join resource r on r.organization = p.organization and r.directory = p.directory and r.id = p.id \
                 where octet_length(p.key) <> 32 or octet_length(p.operation) <> 32 \
                   or r.id is not null and (r.kind <> p.kind or r.version < p.version)",
        what: "a Bulk's operation is remembered with a version that the resource does not have yet",
        remedy: "Nothing until it does; then a repeat could be answered wrongly. It is forgotten after a day. Report this",
    },
];
