"""What the lists of rules share: each row takes one rule out of a copy and shows that a test falls.

A list (`tests/`, `store/tests/`, `session/tests/`: `rules_taken_out.py`) has rows, says what is copied and which tests
run. Two ways to run one:

    rules_taken_out.py --check                     looks only: every text that a row quotes stands exactly once. Seconds;
                                                   part of `make test`. It names the rows that are stale
    rules_taken_out.py [TARGET_DIR [WORDS …]]      takes the rules out, one after another; rows that have all WORDS in
                                                   their rule, else all. Hours; `make test-rules`

Both end with a line as cargo's test runner has it, which `tests/run` adds up, and with 1 where a row is not as it
should be.
"""
import doctest, os, pathlib, shutil, subprocess, sys, tempfile
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[1]


@dataclass
class Row:
    """A rule; the changes that take it out (a file below the root, what stands there, what is put in its place); and
    the test that must fall, where the list names one."""
    rule: str
    changes: list
    test: str = ""


def stale(row, root=ROOT):
    """Why a row does not fit the sources: a list of sentences, empty where it does.

    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.rs").write_text("one(); two(); two();")
    >>> look = lambda *changes: stale(Row("a rule", list(changes)), folder)
    >>> look(("a.rs", "one();", ""))
    []
    >>> look(("a.rs", "two();", ""))
    ["its text stands 2 times in a.rs, not once: 'two();'"]
    >>> look(("a.rs", "three();", ""), ("b.rs", "one();", ""))
    ["its text stands 0 times in a.rs, not once: 'three();'", 'b.rs is not there']
    >>> look(("a.rs", "one();", "one();"))
    ['it changes nothing in a.rs']
    >>> look(("a.rs", "one();", "1"), ("a.rs", "one();", ""))
    ["its text stands 0 times in a.rs, not once: 'one();'"]
    >>> shutil.rmtree(folder)
    """
    texts, why = {}, []
    for name, old, new in row.changes:
        if name not in texts:
            file = root / name
            if not file.is_file():
                why.append(f"{name} is not there")
                continue
            texts[name] = file.read_text()
        count = texts[name].count(old)
        if count != 1:
            why.append(f"its text stands {count} times in {name}, not once: {old.strip().splitlines()[0][:90]!r}")
        elif old == new:
            why.append(f"it changes nothing in {name}")
        else:
            texts[name] = texts[name].replace(old, new)
    if row.test:
        module, _, begin = row.test.partition("::")
        file = root / "tests/suite" / f"{module}.rs"
        if not file.is_file() or f"fn {begin}" not in file.read_text():
            why.append(f"there is no test {row.test} in tests/suite")
    return why


def main(rows, make_copy, builds, falls):
    """Runs a list as the command line says. `make_copy(copy)` fills a folder; `builds(copy, target)` and
    `falls(copy, target, row)` say whether the copy builds, and whether a test of it fails."""
    words = sys.argv[1:]
    if words == ["--check"]:
        sys.exit(check(rows))
    if any(word.startswith("-") for word in words):
        # A whole list takes hours: it is not run for a word that was meant otherwise.
        sys.exit(__doc__)
    target = pathlib.Path(words[0] if words else tempfile.mkdtemp(prefix="rules-taken-out-")).resolve()
    rows = [row for row in rows if all(word in row.rule for word in words[1:])]
    sys.exit(take_out(rows, target, make_copy, builds, falls))


def check(rows):
    """Looks at every row. That this look can fail is looked at first."""
    broken = doctest.testmod(sys.modules[__name__])
    if broken.failed:
        return tell(broken.attempted, broken.failed, "the check of the rows does not work")
    failed = 0
    for row in rows:
        why = stale(row)
        failed += bool(why)
        for sentence in why:
            print(f"STALE      {row.rule}: {sentence}", flush=True)
    if failed:
        print("A row quotes the line that keeps its rule. Where that line has changed, give the row its new text; where")
        print("the rule has gone, take the row out.")
    return tell(len(rows), failed, f"{len(rows) - failed} of {len(rows)} rows fit the sources")


def take_out(rows, target, make_copy, builds, falls):
    copy = target / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    make_copy(copy)
    failed = 0
    for row in rows:
        why = stale(row, copy)
        if why:
            word = "STALE"
        else:
            before = {name: (copy / name).read_text() for name, _, _ in row.changes}
            for name, old, new in row.changes:
                (copy / name).write_text((copy / name).read_text().replace(old, new))
            word = "NO BUILD" if not builds(copy, target) else "falls" if falls(copy, target, row) else "STANDS"
            for name, text in before.items():
                (copy / name).write_text(text)
        failed += word != "falls"
        test = f"  ({row.test})" if row.test else ""
        print("  ".join([f"{word:9}", row.rule + test, *why]), flush=True)
    shutil.rmtree(copy)
    return tell(len(rows), failed, f"{len(rows) - failed} of {len(rows)} rules are shown to be tested")


def passes(command, cwd, seconds, flags=None):
    """Whether a command ends well; one that does not end has not."""
    env = {**os.environ, **({"RUSTFLAGS": flags} if flags is not None else {})}
    try:
        return subprocess.run(command, cwd=cwd, timeout=seconds, env=env, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def tell(count, failed, sentence):
    print(sentence)
    print(f"test result: {'FAILED' if failed else 'ok'}. {count - failed} passed; {failed} failed; 0 ignored")
    return 1 if failed or not count else 0
