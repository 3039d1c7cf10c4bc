#!/usr/bin/env python3
"""Takes each rule of the store out of a copy of this crate and shows that a test falls.

Each row: the rule, the file below `store/src`, what stands there, what is put in its place. How it is run:
`tests/taken_out.py`.
"""
import pathlib, re, shutil, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from taken_out import ROOT, Row, main, passes

ROWS = [
    ("linking: no other subject has the user", "login/mod.rs",
     "if !links.iter().all(|link| self.replaces_link(link)) {", "if false {"),
    ("linking: subjects of the same issuer are people of their own", "login/mod.rs",
     "&& link.issuer != self.key.issuer", ""),
    ("linking: a name is matched finely", "login/matching.rs",
     'LinkTo::UserName => ("userName", fold::same_key(value)),', 'LinkTo::UserName => ("userName", fold::unique_key(value)),'),
    ("linking: the directory names the IdP", "login/mod.rs",
     "if !directories.contains(&directory) {", "if false {"),
    ("linking: only in directories that name the IdP", "login/matching.rs",
     ".partition(|(directory, _)| directories.contains(directory));",
     ".partition(|(directory, _)| directories.contains(directory) || true);"),
    ("linking: an address that nobody verified matches nobody", "login/matching.rs",
     "if link.is_unverified_address {", "if false {"),
    ("linking: who was removed comes back under no name that is said", "login/matching.rs",
     "let said: Vec<&str> = believed.into_iter().flatten().chain(said).collect();",
     "let said: Vec<&str> = believed.into_iter().flatten().chain(said.take(0)).collect();"),
    ("linking: the domain of a name is listed", "login/matching.rs",
     "if has_domain && !asked.domains.include(value) {", "if false {"),
    ("linking: another externalId ends sessions", "directory/user.rs",
     "if is_another || (was_active && !is_active) {", "if was_active && !is_active {"),
    ("linking: another externalId drops links", "directory/user.rs",
     "let links = link::remove_links(tx, org, account).await?;", "let links = 0;"),
    ("login: active is read again", "login/mod.rs",
     "AccountRow { active: false, .. } =>", "AccountRow { active: false, disabled: true, .. } =>"),
    ("login: a flow is good once", "login/mod.rs",
     "(false, true) => Err(Box::new(AdmissionRefusal::FlowSpent)),", "(false, true) => self.enter_person(tx).await?,"),
    ("login: a statement is good once", "login/mod.rs",
     "(_, false) => Err(Box::new(AdmissionRefusal::Replayed)),", "(_, false) => self.enter_person(tx).await?,"),
    ("login: a name that is not for good is linked to nobody", "login/mod.rs",
     "let is_first = self.is_linked_by();", "let is_first = true;"),
    ("login: a name that is not for good is not looked for among links", "login/mod.rs",
     "if self.is_linked_by() { link::find_linked(tx, &self.key).await? } else { None };",
     "link::find_linked(tx, &self.key).await?;"),
    ("login: any domain is none that another IdP lists", "login/mod.rs",
     "Self::AnyBut(others) => domain.is_some_and(|domain| !others.contains(&domain)),", "Self::AnyBut(_) => true,"),
    ("login: beside other IdPs nobody without an address is matched", "login/mod.rs",
     "None if facts.id.is_some() => is_linked || !self.asked.is_one_of_several,", "None if facts.id.is_some() => true,"),
    ("keys: a distrusted one ends the sessions of whoever has it", "idp_keys.rs",
     "        log.add_change(Change::Epoch(scope, number));\n", ""),
    ("keys: a distrusted one ends the sessions of whoever had it", "idp_keys.rs",
     "prints.contains(&key.certificate) || prints.contains(&key.key)", "key.state != IdpKeyState::Gone && (prints.contains(&key.certificate) || prints.contains(&key.key))"),
    ("keys: only one that waits is approved", "idp_keys.rs",
     "and key = $3 and state = 'waiting'", "and key = $3"),
    ("keys: one distrusted by its certificate is so in the next", "idp_keys.rs",
     "        insert_distrusted(tx, org, &key.key, now).await?;\n", ""),
    ("login: nobody else's live session is replaced unasked", "login/mod.rs",
     "Some(before) if session.spares_others => {", "Some(before) if session.spares_others && false => {"),
    ("login: what was not asked about is not spent", "login/mod.rs",
     "                    spent::give_back(tx, self.key.org, id).await?;\n", "                    let _ = id;\n"),
    ("end: a message of the IdP that is repeated ends nothing new", "end.rs",
     "            if is_repeat {\n                continue;\n            }\n", ""),
    ("end: a session that is named with a person must be theirs", "session.rs",
     "and ($5 is null or idp_subject = $5)", "and ($5 is null or $5 is not null)"),
    ("login: without an address no domain is proven", "login/mod.rs",
     "None => self.asked.domains.are_all(),", "None => true,"),
    ("login: a removed subject is barred", "login/mod.rs",
     "barred::is_barred(tx, self.key.org, &self.key.keyed, Word::Removed).await?", "false"),
    ("login: a disabled subject is barred", "login/mod.rs",
     "barred::is_barred(tx, self.key.org, &self.key.keyed, Word::Disabled).await?", "false"),
    ("login: what was ended meanwhile is not brought back", "login/mod.rs",
     "now[*n] > self.asked.epochs[*n]", "now[*n] > self.asked.epochs[*n] && false"),
    ("login: nobody keeps a former directory", "login/mod.rs",
     "                if account.user.is_none() {\n                    return", "                if true {\n                    return"),
    ("standing: an IdP that is not configured any more", "standing.rs", "if !standing.admits_idp(row) {", "if false {"),
    ("standing: people come from elsewhere", "standing.rs", "if !standing.admits_people(row) {", "if false {"),
    ("standing: also what nobody has signed in by yet", "standing.rs",
     "        note_standing(tx, org, under).await?;\n    }\n    let mut log", "        let _ = under;\n    }\n    let mut log"),
    ("keys: a master key that does not fit", "sealed_keys.rs",
     "BarKey::open(*id, sealed, keys)?", "BarKey::open(*id, sealed, keys).unwrap_or_else(|| BarKey::new(&mut Random::from_system()))"),
    ("relinking: what was barred is barred there too", "relink.rs", "if after.is_none() {", "if false {"),
    ("login: born under the epoch of its IdP", "session.rs",
     "coalesce((select number from epoch where organization = $1 and idp = $5), 0))", "0)"),
    ("write: a repeat is enforced like the first", "log.rs",
     "let changes = people.into_iter().map(|(account, generation)| Change::Out(account, generation)).collect();",
     "let changes: Vec<Change> = { drop(people); Vec::new() };"),
    ("orders by hand: an order is for every account of the person", "users.rs",
     "    for id in named.all_accounts() {\n        let before =", "    for id in [named.first] {\n        let before ="),
    ("orders by hand: who bears the name of a removed person is barred", "users.rs",
     "        barred::bar_subjects(tx, org, id, Word::Removed, now).await?;\n        log.add_change", "        log.add_change"),
    ("orders by hand: a disabled address lets in no other subject", "login/matching.rs",
     "if folded_address(&told).is_some_and(|address| said.contains(&address)) {", "if folded_address(&told).is_some_and(|_| false) {"),
    ("write: DELETE raises the generation", "directory/user.rs",
     "        let generation = account::raise_generation(tx, org, account).await?;\n        let mut log = self.open_log();\n"
     '        log.did("user.deleted"',
     "        let generation = account::known_account(tx, org, account).await?.generation;\n        let mut log = self.open_log();\n"
     '        log.did("user.deleted"'),
    ("write: DELETE removes links", "directory/user.rs",
     "        link::remove_links(tx, org, account).await?;\n        account::set_active", "        account::set_active"),
    ("write: restoring raises the generation", "directory/user.rs",
     "        let generation = account::raise_generation(tx, org, account).await?;\n        barred::lift",
     "        let generation = account::known_account(tx, org, account).await?.generation;\n        barred::lift"),
    ("write: a name restores only who never had an externalId", "resource.rs",
     "and deleted is not null and had_external_id = 0 order", "and deleted is not null order"),
    ("write: restoring is within one directory", "resource.rs",
     "where organization = $1 and directory = $2 and external_id = $3 \\\n                       and deleted is not null",
     "where organization = $1 and $2 = $2 and external_id = $3 \\\n                       and deleted is not null"),
    ("write: a version that is named is compared", "directory/mod.rs",
     "Some(condition) if !condition.admits(version, groups) => {", "Some(condition) if !condition.admits(version, groups) && false => {"),
    ("groups: a plan of another version is made anew", "directory/group.rs",
     "match plan.filter(is_fresh) {", "match plan.filter(|plan| is_fresh(plan) || true) {"),
    ("groups: every group around", "member.rs",
     "where m.organization = $1 and m.directory = $2 and m.member = a.team) \\\n               select r.display",
     "where m.organization = $1 and m.directory = $2 and m.member = a.team and 1 = 0) \\\n               select r.display"),
    ("groups: everybody below is reconsidered", "member.rs",
     "where m.organization = $1 and m.directory = $2 and m.team = b.rid)", "where m.organization = $1 and m.directory = $2 and m.team = b.rid and 1 = 0)"),
    ("groups: a new name concerns everybody", "directory/group.rs",
     "touched.push(stored.rid); // everybody", "// everybody"),
    ("groups: members are of the directory", "member.rs",
     "where organization = $1 and directory = $2 and deleted is null and id in",
     "where organization = $1 and $2 = $2 and deleted is null and id in"),
    ("writer: removals overtake", "writer.rs",
     "Lane::Removal => self.removals.push_back(queued),\n            Lane::Ordinary",
     "Lane::Removal => self.ordinary.push_back(queued),\n            Lane::Ordinary"),
    ("writer: an ordinary write has its turn", "writer.rs",
     "let may_overtake = !self.served_removals || self.ordinary.is_empty();", "let may_overtake = true;"),
    ("writer: one alone where removals wait", "writer.rs",
     "let is_overtaken = !is_removal && !self.removals.is_empty();",
     "let is_overtaken = is_removal && !is_removal;"),
    ("writer: a failed write is taken back alone", "writer.rs",
     'tx.plain("rollback to savepoint job").await?;', 'tx.plain("savepoint x").await?;'),
    ("writer: a removal waits longer for the lock", "writer.rs",
     "Lane::Removal => REMOVAL_PATIENCE,", "Lane::Removal => LOCK_PATIENCE,"),
    ("writer: closing writes what waits", "writer.rs",
     "return self.asked.close();", "self.asked.close();\n            self.ordinary.clear();\n            return;"),
    ("reading: long reads have connections of their own", "engine.rs",
     "let mut transaction = self.listers.begin().await?;", "let mut transaction = self.readers.begin().await?;"),
    ("reading: a page is bounded by its members", "directory/find.rs",
     "let mut room = PAGE_HOLDS;", "let mut room = usize::MAX;"),
    ("tidying: a piece ends after its time", "tidy.rs",
     "if began.elapsed() >= SPAN {", "if began.elapsed() >= SPAN * 1_000 {"),
    ("reading: one snapshot", "session.rs",
     "let described = account::describe_account(&mut tx, org, account).await?;",
     "let mut tx = self.engine.snapshot().await?;\n        let described = account::describe_account(&mut tx, org, account).await?;"),
    ("reading: when a client was heard only grows", "session.rs",
     "where hash = $1 and seen < $2", "where hash = $1 and seen <> $2"),
    ("reading: one element meets a filter in brackets", "filter.rs",
     "and a{n}.rid = a0.rid and a{n}.item = a0.item", "and a{n}.rid = a0.rid"),
    ("file: for its owner alone", "file.rs", "if mode & 0o077 != 0 {", "if mode & 0o077 != 0 && false {"),
    ("file: a newer schema is refused", "migrate/mod.rs", "if found > KNOWN {", "if found > KNOWN + 100 {"),
    ("tidying: a tombstone bars for ever", "migrate/sqlite/0001_first.sql",
     "create index barred_account on barred (account);",
     "create index barred_account on barred (account);\n"
     "create trigger gone after delete on account begin delete from barred where account = old.id; end;"),
]


def make_copy(copy):
    members = ["policy", "session", "scim", "keys", "store"]
    for member in members:
        shutil.copytree(ROOT / member, copy / member)
    for part in ("Cargo.lock", "rust-toolchain.toml"):
        shutil.copy(ROOT / part, copy / part)
    manifest = (ROOT / "Cargo.toml").read_text().partition("\n[package]\n")[0]
    manifest = re.sub(r"members = \[[^]]*\]", f"members = {members}".replace("'", '"'), manifest)
    (copy / "Cargo.toml").write_text(manifest)


def run(copy, target, *more):
    command = ["cargo", "test", "-q", "-p", "portcullis-store", "--target-dir", target, *more]
    return passes(command, copy, 900, "-A warnings")


if __name__ == "__main__":
    main([Row(rule, [(f"store/src/{name}", old, new)]) for rule, name, old, new in ROWS], make_copy,
         builds=lambda copy, target: run(copy, target, "--no-run"),
         falls=lambda copy, target, row: not run(copy, target, "--", "--skip", "size", "--skip", "thousands"))
