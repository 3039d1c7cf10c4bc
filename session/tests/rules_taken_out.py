#!/usr/bin/env python3
"""Takes each rule of the protocol out of a copy of this crate and shows that a test falls.

Each row: the rule, the file, what stands there, what is put in its place. That an exchange enrols before its session is
checked (R4) has none: standing looks at the marks again (decision 0002), so checking first stands in every history.
Files are named below `session/src`. How it is run: `tests/taken_out.py`.
"""
import pathlib, shutil, sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tests"))
from taken_out import ROOT, Row, main, passes

ROWS = [
    ("R2 mark: a removal raises the generation", "account.rs",
     "Change::Out(_, generation) => self.generation = self.generation.max(*generation),", "Change::Out(..) => {}"),
    ("R2 mark: a logout marks the session in memory", "account.rs",
     "                    session.end();\n", ""),
    ("R2 marks only grow", "account.rs",
     "self.generation = self.generation.max(*generation)", "self.generation = *generation"),
    ("R5 cut: the exchange is told", "account.rs",
     "                entry.exchange.mark(ended);\n", ""),
    ("R5 cut: whoever polls stays registered", "inflight.rs",
     "let waker = self.0.waker.lock().clone();", "let waker = self.0.waker.lock().take();"),
    ("R5 cut: registered before it looks", "inflight.rs",
     "*self.exchange.0.waker.lock() = Some(waker.clone());", ""),
    ("R5 wait: what has to leave is counted", "account.rs",
     "self.exchanges.iter().filter(|(_, entry)| must_leave(entry)).count()", "{ let _ = must_leave; 0 }"),
    ("R5 wait: an unread session counts as forbidden", "account.rs",
     "!entry.session.is_read()", "false"),
    ("R5 wait: who waits is woken", "waiting.rs",
     "                if wait.left == 0 {", "                if false {"),
    ("R3 what is believed is read after the enrolment", "../tests/loom.rs",
     "        let cold = holder.enrol(HASH, exchange);\n        let read = self.read(HASH, 0);\n",
     "        let read = self.read(HASH, 0);\n        let cold = holder.enrol(HASH, exchange);\n"),
    ("R3 a cold read takes the generation it saw", "account.rs",
     "self.generation = self.generation.max(described.generation);", ""),
    ("R3 a cold read takes the ended flag it saw", "session.rs",
     "        if stored.ended {", "        if false {"),
    ("R3 a change to reconsider makes stale", "account.rs",
     "                self.staled += 1;\n", ""),
    ("R4 stands on: not if a mark came meanwhile", "account.rs",
     ".filter(|_| unmoved && unmarked)", ".filter(|_| unmoved && (unmarked || true))"),
    ("R4 stands on: not if the description moved", "account.rs",
     "self.principal.as_ref().is_some_and(|now| Arc::ptr_eq(now, who))", "{ let _ = who; true }"),
    ("R4 stands on: not under old rules", "account.rs",
     "pass.rules_version() >= in_force", "{ let _ = in_force; true }"),
    ("R4 a stranger stands on the rules in force", "stranger.rs",
     "pass.rules_version() < in_force() ||", "{ let _ = in_force; false } ||"),
    ("R4 a reload looks through the strangers", "stranger.rs",
     "(!policy.still_public(&entry.pass)).then_some(Ended::Forbidden)", "{ let _ = (&policy, &entry.pass); None::<Ended> }"),
    ("R5 wait: strangers that were cut are counted", "stranger.rs",
     "self.exchanges.iter().filter(must_leave).count()", "{ let _ = must_leave; 0 }"),
    ("R9 a stranger's answer on which nothing passes is ended", "stranger.rs",
     "(now.0.saturating_sub(heard.0) >= quiet).then_some(Ended::Idle)", "{ let _ = (now, heard, quiet); None }"),
    ("R1 one object a person", "registry.rs",
     "        let held = shard\n            .entry(id)", "        shard.remove(&id);\n        let held = shard\n            .entry(id)"),
    ("R6 a hold is looked at", "session.rs",
     "holds.stands(self.org(), self.account(), state.resource.as_ref()).then_some(Ended::OnHold)",
     "{ let _ = holds; None }"),
    ("R8 what is no longer allowed is cut", "account.rs",
     "                _ => Some(Ended::Forbidden),", "                _ => None,"),
]


# The crate's unit tests come with `rules`.
SUITES = [
    ("rules", "-A warnings"),
    ("model", "-A warnings"),
    ("loom", "--cfg portcullis_loom -A warnings -C opt-level=2"),
]


def make_copy(copy):
    for part in ("Cargo.lock", "rust-toolchain.toml"):
        shutil.copy(ROOT / part, copy / part)
    head, _, rest = (ROOT / "Cargo.toml").read_text().partition("members = [")
    manifest = head + 'members = ["policy", "session"]' + rest.partition("]")[2]
    (copy / "Cargo.toml").write_text(manifest.partition("[package]")[0])
    for member in ("policy", "session"):
        shutil.copytree(ROOT / member, copy / member)


def run(copy, target, test, flags, *more):
    lib = ["--lib"] if test == "rules" else []
    command = ["cargo", "test", "-q", "-p", "portcullis-session", *lib, "--test", test]
    return passes([*command, "--target-dir", target / test, *more], copy, 900, flags)


if __name__ == "__main__":
    main([Row(rule, [(f"session/src/{name}", old, new)]) for rule, name, old, new in ROWS], make_copy,
         builds=lambda copy, target: all(run(copy, target, *suite, "--no-run") for suite in SUITES),
         falls=lambda copy, target, row: not all(run(copy, target, *suite) for suite in SUITES))
