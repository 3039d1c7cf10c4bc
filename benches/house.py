#!/usr/bin/env python3
"""The house measured: how far the sources of this workspace can be read one file, one word and one line at a time.

    house.py                   one table, a row a crate and one for all
    house.py --words           the same, and the names, files and docs that it counted, one a line
    house.py --homonyms        only the type names that are defined more than once; 1 where there is one

docs/house.md says what each column means. Nothing is built, and only what stands in `src/` of a crate is judged:
whatever is under `#[cfg(test)]`, and the folders of tests and benches, is counted as lines and not looked at.
"""
import pathlib, re, sys, tomllib
from collections import defaultdict

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Words that say nothing of their own: each crate may have its Limits. A noun of the subject is not among them.
GENERIC = {"Error", "Limits", "Metrics", "Parts", "Settings", "StartError"}
# How a doc begins that asks instead of naming.
ASKS = re.compile(r"(?:What|Who|Whom|Whose|Where|How|Whether|When|Why|Which)\b")
# Parts of the house that rehearse it, and parts that test it, as paths below the root.
REHEARSAL = ("rehearsal/",)
RIGS = ("tests/", "benches/", "rig/")

# Crates that nobody is shipped.
FURNITURE = ("rig", "rehearsal")

IDENT = r"[A-Za-z_][A-Za-z0-9_]*"
TEST = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]")
TOKEN = re.compile(
    r"""//[^\n]*|/\*|\b(?:b|c)?r(?P<hashes>\#*)"|(?:\b[bc])?"|(?:\bb)?'(?:\\(?:u\{[^}]*\}|x..|.)|[^\\'\n])'""", re.S
)


def plain(text):
    """The text with comments, strings and characters blanked, and its doc comments: {line: text}. Lines stay."""
    out, docs, at = [], {}, 0

    def blank(piece):
        return re.sub(r"[^\n]", " ", piece)

    while found := TOKEN.search(text, at):
        out.append(text[at:found.start()])
        start, token = found.start(), found.group()
        if token.startswith("//"):
            end = found.end()
            if re.match(r"///(?!/)", token):
                docs[text.count("\n", 0, start) + 1] = token[3:].strip()
        elif token == "/*":
            depth, end = 1, found.end()
            while depth and (mark := re.compile(r"/\*|\*/").search(text, end)):
                depth, end = depth + (1 if mark.group() == "/*" else -1), mark.end()
        elif found.group("hashes") is not None:
            close = '"' + found.group("hashes")
            end = text.find(close, found.end()) + len(close)
        elif token.endswith('"'):
            end = re.compile(r'(?:\\.|[^"\\])*"', re.S).match(text, found.end()).end()
        else:
            end = found.end()
        out.append(blank(text[start:end]))
        at = end
    return "".join(out) + text[at:], docs


def end_of_item(code, at):
    """Where the item ends that begins at `at`, behind its other attributes: behind its `;` or its last brace."""
    depth = 0
    for at in range(at, len(code)):
        if code[at] in "([{":
            depth += 1
        elif code[at] in ")]}":
            depth -= 1
            if not depth and code[at] == "}":
                return at + 1
        elif code[at] == ";" and not depth:
            return at + 1
    return len(code)


def without_tests(code):
    """The code without what is only there for tests, the numbers of the lines that were, and the modules declared so."""
    lines, modules, at = set(), [], 0
    while found := TEST.search(code, at):
        end = end_of_item(code, found.end())
        piece = code[found.start():end]
        modules += re.findall(rf"\bmod ({IDENT});", piece)
        first = code.count("\n", 0, found.start()) + 1
        lines.update(range(first, first + piece.count("\n") + 1))
        code = code[:found.start()] + re.sub(r"[^\n]", " ", piece) + code[end:]
        at = end
    return code, lines, modules


def split(text):
    """The members of a list at its own level: `a, b::{c, d}` is two."""
    depth, part = 0, ""
    for char in text:
        depth += (char == "{") - (char == "}")
        if char == "," and not depth:
            yield part
            part = ""
        else:
            part += char
    yield part


def leaves(tree, before=()):
    """The paths of a use tree, each with the name it gets: `a::{b, c as d}` is (a, b), b and (a, c), d."""
    tree = tree.strip()
    if "{" in tree:
        head, inner = tree.split("{", 1)
        before += tuple(part.strip() for part in head.split("::") if part.strip())
        for part in split(inner.rsplit("}", 1)[0]):
            yield from leaves(part, before)
    elif tree:
        path, _, name = tree.partition(" as ")
        parts = before + tuple(part.strip() for part in path.split("::") if part.strip())
        if parts[-1] == "self" and len(parts) > 1:
            parts = parts[:-1]
        yield parts, name.strip() or parts[-1]


class File:
    """One file of a crate's `src/`: its module's path, and its code without tests."""

    def __init__(self, path, folder):
        self.path, self.name = path, path.relative_to(ROOT).as_posix()
        text = path.read_text(encoding="utf-8")
        self.lines = text.count("\n")
        code, self.docs = plain(text)
        self.code, tests, self.test_modules = without_tests(code)
        self.test_lines = len(tests)
        # From below, for the doc of a test stands above its attribute.
        for line in sorted(self.docs, reverse=True):
            if line in tests or line + 1 in tests:
                tests.add(line)
                del self.docs[line]
        parts = path.relative_to(folder).with_suffix("").parts
        self.module = parts[:-1] if parts[-1] in ("mod", "lib", "main") else parts
        self.uses, self.hands_on = [], {}
        for public, tree in re.findall(r"\b(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", self.code):
            for leaf, name in leaves(tree):
                # A public use is a table of contents, as `mod` is; what stands behind it is asked for by its users.
                if public:
                    self.hands_on[name] = leaf
                else:
                    self.uses.append(leaf)
        # A path written out counts like one that was brought in. Down into its own modules a file looks as their
        # table of contents, which is no circle with what they ask of it.
        body = re.sub(r"\buse\s+[^;]+;", " ", self.code)
        for path in re.findall(rf"(?:\$?\bcrate|\bsuper)(?:\s*::\s*{IDENT})+", body):
            self.uses.append(tuple(re.findall(IDENT, path)))
        self.uses = [path for path in self.uses if path[0] in ("crate", "super")]


class Crate:
    def __init__(self, name, folder):
        self.name, self.folder = name, folder
        source = folder / "src"
        self.files = [File(path, source) for path in sorted(source.rglob("*.rs"))]
        tests = {file.module + (name,) for file in self.files for name in file.test_modules}
        self.tests = [file for file in self.files if any(file.module[:len(test)] == test for test in tests)]
        self.files = [file for file in self.files if file not in self.tests]
        self.modules = {file.module: file for file in self.files}

    def target(self, file, path, seen=()):
        """The file that a path leads to from another; none where it leads out of the crate."""
        first, rest = path[0], path[1:]
        if first == "crate":
            at = ()
        elif first == "self":
            at = file.module
        elif first == "super":
            at = file.module[:-1]
            while rest and rest[0] == "super":
                at, rest = at[:-1], rest[1:]
        elif file.module + (first,) in self.modules:
            at, rest = file.module, path
        else:
            return None
        while rest and at + (rest[0],) in self.modules:
            at, rest = at + (rest[0],), rest[1:]
        found = self.modules.get(at)
        if found and rest and rest[0] in found.hands_on and (found, rest[0]) not in seen:
            return self.target(found, found.hands_on[rest[0]], seen + ((found, rest[0]),)) or found
        return found

    def circles(self):
        """Sets of files each of which leads to each other one of its set."""
        edges = {file: {self.target(file, path) for path in file.uses} - {file, None} for file in self.files}

        def reach(file):
            seen, todo = set(), [file]
            while todo:
                for other in edges[todo.pop()] - seen:
                    seen.add(other)
                    todo.append(other)
            return seen

        reached = {file: reach(file) for file in self.files}
        return {
            frozenset(other for other in reached[file] if file in reached[other])
            for file in self.files if file in reached[file]
        }


def is_rehearsal(file):
    return file.name.startswith(REHEARSAL)


def is_ours(code, at):
    """Whether a function's name is ours to choose: not in `impl Trait for`."""
    depth, at = 0, at
    while (at := max(code.rfind("{", 0, at), code.rfind("}", 0, at))) >= 0:
        depth += 1 if code[at] == "{" else -1
        if depth > 0:
            depth = 0
            head = code[max(code.rfind(mark, 0, at) for mark in ";{}") + 1:at]
            if re.match(r"\s*(?:#\[[^\]]*\]\s*)*(?:unsafe\s+)?impl\b.*\bfor\b", head, re.S):
                return False
    return True


def functions(file):
    """The names of its functions, but for those a trait has named; and whether each has a receiver."""
    for found in re.finditer(rf"\bfn\s+({IDENT})", file.code):
        if found.group(1) != "main" and is_ours(file.code, found.start()):
            opened = file.code.find("(", found.end())
            receiver = re.compile(r"\(\s*(?:&\s*(?:'\w+\s+)?)?(?:mut\s+)?self\b").match(file.code, opened)
            yield found.group(1), bool(receiver)


def is_short(name):
    return "_" not in name.strip("_")


def types(file):
    """The types it defines: structs, enums, unions, traits, and aliases that are no part of an impl or a trait."""
    for found in re.finditer(rf"\b(struct|enum|union|trait|type)\s+({IDENT})\b(?!\s*!)", file.code):
        kind, name = found.groups()
        line = file.code[file.code.rfind("\n", 0, found.start()) + 1:found.start()]
        if kind == "type" and (line.startswith(" ") or ":" in line):
            continue
        if name[0].isupper():
            yield name


def item_docs(file):
    """The first line of each doc comment: of a type, a function, a field, a variant, a constant."""
    return [(line, text) for line, text in file.docs.items() if line - 1 not in file.docs]


def homonyms(crates):
    """Each name that is defined more than once, with the places."""
    places = defaultdict(list)
    for crate in crates:
        for file in crate.files:
            for name in types(file):
                # Two in one file are the same type under two conditions of `cfg`.
                if file.name not in places[name]:
                    places[name].append(file.name)
    return {name: found for name, found in sorted(places.items()) if len(found) > 1 and name not in GENERIC}


def lines_of(folder):
    """The lines of a folder's Rust, but for what was brought or built there."""
    def is_ours(path):
        return not any(part.startswith(".") or part == "target" for part in path.relative_to(folder).parts)

    files = folder.rglob("*.rs") if folder.is_dir() else ()
    return sum(path.read_text(encoding="utf-8").count("\n") for path in files if is_ours(path))


def workspace():
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    folders = [ROOT / member for member in manifest["workspace"]["members"]]
    return [Crate("portcullis", ROOT)] + [Crate(folder.name, folder) for folder in folders]


def share(part, whole):
    return f"{100 * part / whole:.1f} %" if whole else "–"


def row(name, crates, doubled, own_folders):
    files = [file for crate in crates for file in crate.files]
    names = [name for file in files for name in functions(file)]
    docs = [text for file in files for _, text in item_docs(file)]
    short = sum(is_short(name) for name, _ in names)
    free = [name for name, has_receiver in names if not has_receiver]
    short_free = sum(map(is_short, free))
    asking = sum(bool(ASKS.match(text)) for text in docs)
    in_circles = {file.name for crate in crates for circle in crate.circles() for file in circle}
    of_it = sum(any(place in {file.name for file in files} for place in places) for places in doubled.values())
    rehearsed = sum(file.lines for file in files if is_rehearsal(file))
    shipped = [file for file in files if not is_rehearsal(file) and not file.name.startswith(RIGS)]
    product = sum(file.lines - file.test_lines for file in shipped)
    all_lines = sum(file.lines for crate in crates for file in crate.files + crate.tests)
    tests = all_lines - product - rehearsed + sum(map(lines_of, own_folders))
    return [name, len(files), len(in_circles), of_it, share(short, len(names)), share(short_free, len(free)),
            share(asking, len(docs)), product, rehearsed, tests]


def main(arguments):
    crates = workspace()
    doubled = homonyms(crates)
    if "--homonyms" in arguments:
        for name, places in doubled.items():
            print(f"{name} is defined {len(places)} times: {', '.join(places)}")
        return 1 if doubled else 0
    titles = ["Crate", "Files", "In circles", "Homonyms", "One-word functions", "Without a receiver", "Docs that ask",
              "Product", "Rehearsal", "Tests and rigs"]
    own = {crate.name: [crate.folder / "tests", crate.folder / "benches"] for crate in crates}
    rows = [row(crate.name, [crate], doubled, own[crate.name]) for crate in crates]
    shipped = [crate for crate in crates if crate.name not in FURNITURE]
    rows.append(row("what is shipped", shipped, doubled, sum((own[crate.name] for crate in shipped), [])))
    rows.append(row("all", crates, doubled, sum(own.values(), [])))
    print("| " + " | ".join(titles) + " |\n|" + "---|" * len(titles))
    for cells in rows:
        print("| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in cells) + " |")
    if "--words" in arguments:
        for crate in crates:
            for circle in sorted(crate.circles(), key=len):
                print(f"circle of {len(circle)}: {', '.join(sorted(file.name for file in circle))}")
        for name, places in doubled.items():
            print(f"homonym {name}: {', '.join(places)}")
        for file in (file for crate in crates for file in crate.files):
            for name, _ in functions(file):
                if is_short(name):
                    print(f"one word {file.name}: {name}")
            for line, text in item_docs(file):
                if ASKS.match(text):
                    print(f"asks {file.name}:{line}: {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
