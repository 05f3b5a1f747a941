#!/usr/bin/env python3
"""Writes the first inputs of the corpora, from the reference vectors: fuzz/seeds.py [FOLDER], by default fuzz/corpus.

Their names start with `seed-`. What a harness finds from there is added with the names that libFuzzer gives.
"""

import json
import sys
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
VECTORS = FUZZ.parent / "crates/phield-core/vectors"
# Tokens that the harness `open` has sealed for itself.
GENUINE = 17


def lp(*elements):
    out = len(elements).to_bytes(4, "big")
    return out + b"".join(len(e).to_bytes(4, "big") + e for e in elements)


def seeds(vectors, normalizer_lines):
    """Harness, name, input."""
    raw = bytes.fromhex
    for v in vectors["tokens"]:
        name = v["name"].split()[0].lower()
        yield "token", name, raw(v["token"])
        yield "text_form", name, v["text"].encode()
        yield "frame", name, raw(v["frame"])
        # One of each type of row id, and of each `opt`.
        if name in ("a1", "a4", "a5", "a6", "a7", "a8", "a16"):
            yield "identity", f"row-{name}", raw(v["row_context"])
            yield "identity", f"field-{name}", raw(v["field_context"])
            if v["row_id"]:
                yield "identity", f"id-{name}", raw(v["row_id"])
    a1 = raw(vectors["tokens"][0]["token"])
    yield "token", "x1", raw(vectors["salamander"]["token"])
    yield "token", "short", a1[:62]
    yield "text_form", "bytes", a1
    yield "text_form", "trailing-bits", vectors["tokens"][0]["text"].encode()[:-1] + b"5"

    # A place, a field of it, a token and the type to open it as: see `fuzzing/open.rs`.
    for n in range(GENUINE):
        yield "open", f"genuine-{n}", bytes([n, 0, 0, 0, n, 0, n % 16])
    yield "open", "elsewhere", bytes([0, 0, 0, 0, 1, 0, 0])
    yield "open", "a1", bytes([0, 0, 0, 3]) + len(a1).to_bytes(2, "big") + a1 + b"\0"
    yield "open", "bit-flip", bytes([0, 0, 0, 0, 0, 1, 0, 0, 200, 0])
    yield "open", "row", bytes([0, 0]) + b"".join(bytes([2, n, 0, n, 0, n]) for n in range(4))

    # Limits that no mutation meets by chance: see `fuzzing/identity.rs` and `fuzzing/input.rs`.
    for lengths in ((1018, 1018, 1018, 1017), (1018,) * 4, (1024,), (1025,), (1,) * 16, (1,) * 17):
        parts = b"".join(b"\2\xff" + n.to_bytes(2, "big") + b"x" for n in lengths)
        composite = b"\1\4" + bytes([len(lengths)]) + parts
        yield "identity", f"parts-{len(lengths)}-{lengths[-1]}", b"\0\0a\0\0\0a" + composite + b"\0\0a\0\5"
    for n in (1024, 1025):
        long = b"\1\2\xff" + n.to_bytes(2, "big") + b"x"
        extra = b"\1\xff" + n.to_bytes(2, "big") + b"x"
        yield "identity", f"long-{n}", b"\0\0a\0\0\0a" + long + long + b"\0a" + extra

    for v in vectors["keys"]:
        yield "identity", f"krec-{v['name'].split()[0].lower()}", raw(v["record"])
    manifest = vectors["manifests"][0]
    yield "key_record_and_manifest", "stored", raw(manifest["stored"])
    yield "key_record_and_manifest", "unsigned", raw(manifest["manifest"])
    for record in manifest["records"]:
        yield "key_record_and_manifest", f"record-{record['key_id']}", raw(record["bytes"])

    for v in vectors["local_file"]:
        name, file = v["name"].split()[0].lower(), raw(v["file"])
        keys = [
            lp(k["id"].to_bytes(4, "big"), k["created"].to_bytes(8, "big"), bytes([k["state"]]), raw(k["key"]))
            for k in v["keys"]
        ]
        yield "local_key_file", f"file-{name}", file
        yield "local_key_file", f"keys-{name}", lp(*keys)
        yield "local_key_file", f"changed-{name}", b"\0\x83" + lp(*keys)
        yield "local_key_file", f"bounds-{name}", file[:6] + b"\xff" * 9 + file[15:]

    texts = dict.fromkeys(json.loads(line.split("\t")[1]) for line in normalizer_lines)
    # A part of them: the golden test reads all.
    for n, text in enumerate(list(texts)[::3]):
        yield "normalizers", f"text-{n}", text.encode("utf-8", "replace")
    for n, text in enumerate(list(texts)[1::6]):
        yield "normalizers", f"characters-{n}", b"".join(ord(c).to_bytes(3, "big") for c in text)


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FUZZ / "corpus"
    vectors = json.loads((VECTORS / "v1.json").read_text())
    lines = (VECTORS / "normalizers.v1.tsv").read_text().splitlines()
    count = 0
    for harness, name, data in seeds(vectors, [line for line in lines if line and not line.startswith("#")]):
        path = folder / harness / f"seed-{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        count += 1
    print(f"{count} inputs in {folder}")


if __name__ == "__main__":
    main()
