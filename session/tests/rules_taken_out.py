#!/usr/bin/env python3
"""Takes each rule of the protocol out of a copy of this crate and shows that a test falls.

Each row: the rule, the file, what stands there, what is put in its place. That an exchange enrols before its session is
checked (R4) has none: standing looks at the marks again (decision 0002), so checking first stands in every history.
A row whose text is not found exactly once, or whose copy still passes the loom histories and the model, fails the run.
Usage: rules_taken_out.py [TARGET_DIR]
"""
import os, pathlib, shutil, subprocess, sys, tempfile

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
    ("R5 wait: who waits is woken", "account.rs",
     "                if waiting.left == 0 {", "                if false {"),
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
     "pass.version() >= in_force", "{ let _ = in_force; true }"),
    ("R1 one object a person", "registry.rs",
     "            shard.entry(id).or_insert_with(", "            { shard.remove(&id); &mut shard }.entry(id).or_insert_with("),
    ("R6 a hold is looked at", "session.rs",
     "self.holder.shared.holds.stands(state.resource.as_ref()).then_some(Ended::OnHold)", "None"),
    ("R8 what is no longer allowed is cut", "account.rs",
     "                _ => Some(Ended::Forbidden),", "                _ => None,"),
]


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    target = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="rules-taken-out-")
    copy = pathlib.Path(target) / "copy"
    failed = 0
    for rule, name, old, new in ROWS:
        shutil.rmtree(copy, ignore_errors=True)
        (copy / "session").mkdir(parents=True)
        for part in ("Cargo.lock", "rust-toolchain.toml"):
            shutil.copy(root / part, copy / part)
        manifest = (root / "Cargo.toml").read_text()
        head, _, rest = manifest.partition("members = [")
        manifest = head + 'members = ["policy", "session"]' + rest.partition("]")[2]
        (copy / "Cargo.toml").write_text(manifest.partition("[package]")[0])
        shutil.copytree(root / "policy", copy / "policy")
        shutil.copytree(root / "session", copy / "session", dirs_exist_ok=True)
        source = copy / "session" / "src" / name
        text = source.read_text()
        if text.count(old) != 1:
            print(f"NOT FOUND  {rule}")
            failed += 1
            continue
        source.write_text(text.replace(old, new))
        def run(test, flags, *more):
            lib = ["--lib"] if test == "rules" else []
            command = ["cargo", "test", "-q", "-p", "portcullis-session", *lib, "--test", test]
            return subprocess.run(
                [*command, "--target-dir", f"{target}/{test}", *more], cwd=copy, timeout=900,
                env={**os.environ, "RUSTFLAGS": flags}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode

        # The crate's unit tests come with `rules`.
        suites = (("rules", "-A warnings"), ("model", "-A warnings"), ("loom", "--cfg portcullis_loom -A warnings -C opt-level=2"))
        if any(run(*suite, "--no-run") for suite in suites):
            print(f"NO BUILD   {rule}", flush=True)
            failed += 1
            continue
        falls = any(run(*suite) for suite in suites)
        failed += not falls
        print(f"{'falls' if falls else 'STANDS'}      {rule}", flush=True)
    print(f"{len(ROWS) - failed} of {len(ROWS)} rules are shown to be tested")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
