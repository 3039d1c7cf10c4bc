#!/usr/bin/env python3
"""Writes the corpus. `--check` writes nothing and fails when a committed file is not what would be written."""

import json
import sys
from pathlib import Path

from forge import attacks, case, keys, logout, message, metadata, valid, vendors

HERE = Path(__file__).resolve().parent


def to_json(value):
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()


def to_json_lines(listed):
    """An array with one line for each of its members."""
    return ("[\n" + ",\n".join(json.dumps(x, ensure_ascii=False) for x in listed) + "\n]\n").encode()


def describe_idps():
    out = {}
    for name, (entity, certificates, switches) in case.IDPS.items():
        out[name] = {
            "entity_id": entity,
            "certificates": [keys.certificate_pem(x) for x in certificates],
            "allow_sha1": False,
            "allow_cbc": False,
            "idp_initiated": False,
            "skew_ms": 180_000,
        } | switches
    return out


def describe_sp():
    return {
        "entity_id": message.SP_ENTITY,
        "acs": message.ACS,
        "slo": message.SLO,
        "decryption_keys": [(keys.FOLDER / f"{x}.key.pem").read_text() for x in ("sp-current", "sp-next")],
    }


def make_files():
    """All files of the corpus by their path in this folder."""
    for part in (valid, vendors, attacks, metadata, logout):
        part.add_all()
    files = {}
    for one in case.CASES.values():
        if one.xml is not None:
            files[f"xml/{one.name}.xml"] = one.xml
        if one.field is not None:
            files[f"field/{one.name}.txt"] = one.field.encode()
    files["cases.json"] = to_json_lines([one.describe() for one in case.CASES.values()])
    for name, part in (("metadata", metadata), ("logout", logout)):
        files |= {row["file"]: data for data, row in part.CASES.values() if data is not None}
        files[f"{name}.json"] = to_json_lines([row for _, row in part.CASES.values()])
    files["idps.json"] = to_json(describe_idps())
    files["sp.json"] = to_json(describe_sp())
    return files


def list_committed():
    folders = ("xml", "field", "metadata", "logout")
    return {str(p.relative_to(HERE)) for folder in folders for p in (HERE / folder).rglob("*") if p.is_file()}


def main():
    keys.write_missing()
    files = make_files()
    stale = sorted(list_committed() - files.keys())
    changed = sorted(
        path
        for path, data in files.items()
        if not (HERE / path).exists() or (HERE / path).read_bytes() != data
    )
    if "--check" in sys.argv:
        for path in stale + changed:
            print("differs:", path)
        sys.exit(1 if stale or changed else 0)
    for path in stale:
        (HERE / path).unlink()
    for path in changed:
        (HERE / path).parent.mkdir(exist_ok=True)
        (HERE / path).write_bytes(files[path])
    good = sum(one.expect["accepted"] for one in case.CASES.values())
    print(
        f"Responses: {good} valid, {len(case.CASES) - good} attacks; {len(metadata.CASES)} of metadata,"
        f" {len(logout.CASES)} of logout; {sum(map(len, files.values())) // 1024} kB, {len(changed)} files"
        " written"
    )


if __name__ == "__main__":
    main()
