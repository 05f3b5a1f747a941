#!/usr/bin/env python3
"""Independent implementation of the phield v1 format, written from the format page alone.

It shares no code and no constants file with the Rust library: its purpose is to disagree with it when one of the two has
misread the page. Each part below carries the number of the page's section that it follows.

    checker.py vectors v1.json         reproduce every reference vector, with the intermediate values, and open it back
    checker.py open RING CASES.jsonl   open tokens that another implementation sealed
    checker.py seal RING --count N     seal tokens that another implementation must open
    checker.py index RING CASES.jsonl  recompute blind index values
    checker.py database RING --db ...  open the tokens inside an SQLite database
    checker.py selftest                seal, open and corrupt tokens in a ring of its own

RING is `--manifest FILE --key-file FILE --passphrase-file FILE --ring-key PIN [--app APP] [--ring RING]`.
Exit status: 0 all well, 1 a difference or a refused input, 2 wrong usage.

Needs Python 3.11, `cryptography` (AES-GCM, ChaCha20-Poly1305) and `argon2-cffi` (Argon2id); the rest is the standard library.
"""

import argparse
import base64
import contextlib
import datetime
import hashlib
import hmac
import io
import itertools
import json
import math
import os
import random
import re
import shutil
import sqlite3
import stat
import struct
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass, field, replace

from argon2.low_level import Type as Argon2Type
from argon2.low_level import hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305


# ---------------------------------------------------------------------------------------------------------------------
# Sections 4 and 8.5: error classes
# ---------------------------------------------------------------------------------------------------------------------

class PhieldError(Exception):
    """One of the error classes named on the page."""

    def __str__(self):
        return f"{type(self).__name__}: {super().__str__()}"


class Malformed(PhieldError):
    """Bytes or text that cannot be parsed."""


class UnknownKey(PhieldError):
    """No record has this key id."""


class KeyUnavailable(PhieldError):
    """The provider that could unwrap the key is out of reach."""


class KeyState(PhieldError):
    """The key is in a state that does not allow this."""


class Authentication(PhieldError):
    """Suite, scope, commitment, tag, framing, type, unwrap, KCV or MAC: one class for all."""


class Config(PhieldError):
    """Bad name or pin, KEK not on the allow-list, key file parameters out of bounds."""


class Stale(PhieldError):
    """Epoch too low, or equal with another MAC."""


class KeyRefused(PhieldError):
    """The provider denies access."""


class Unsealable(PhieldError):
    """A value or a row id that cannot be sealed."""


# ---------------------------------------------------------------------------------------------------------------------
# Section 1: notation and primitives
# ---------------------------------------------------------------------------------------------------------------------

KEY_LENGTH = 32


def u32(x):
    return struct.pack(">I", x)


def u64(x):
    return struct.pack(">Q", x)


def mac(key, message):
    """HMAC-SHA-256 under a key of exactly 32 bytes."""
    if len(key) != KEY_LENGTH:
        raise ValueError("a key must have 32 bytes")
    return hmac.digest(key, message, "sha256")


def sha256(data):
    return hashlib.sha256(data).digest()


def same(a, b):
    """Comparison in constant time."""
    return hmac.compare_digest(a, b)


def lp(*items):
    """Injective list encoding."""
    return u32(len(items)) + b"".join(u32(len(item)) + item for item in items)


def lp_decode(data, count=None):
    """The list in `data`; refuses trailing bytes and another count than `count`."""
    n, pos, items = _take_u32(data, 0), 4, []
    if count is not None and n != count:
        raise Malformed(f"list of {n} items where {count} belong")
    for _ in range(n):
        end = pos + 4 + _take_u32(data, pos)
        if end > len(data):
            raise Malformed("list item runs past the end")
        items.append(data[pos + 4:end])
        pos = end
    if pos != len(data):
        raise Malformed("bytes after the list")
    return items


def _take_u32(data, pos):
    if pos + 4 > len(data):
        raise Malformed("list ends inside a length")
    return int.from_bytes(data[pos:pos + 4], "big")


def opt(x):
    return b"" if x is None else b"\x01" + x


def opt_decode(data):
    if data == b"":
        return None
    if data[0] != 1:
        raise Malformed("optional value starts with another byte than 0x01")
    return data[1:]


def kdf(key, label, context, n):
    """NIST SP 800-108r1 section 4.1: counter mode, HMAC-SHA-256, 32-bit counter in front."""
    fixed = label.encode("ascii") + b"\x00" + context + u32(8 * n)
    blocks = (mac(key, u32(i) + fixed) for i in range(1, math.ceil(n / 32) + 1))
    return b"".join(blocks)[:n]


def hedged_salt(data_key, r12, clock_ns, row):
    """The row salt: operating system randomness, hedged with clock and row."""
    return kdf(data_key, "phield.v1.salt", r12 + u64(clock_ns) + row, 12)


def fresh_salt(data_key, row):
    return hedged_salt(data_key, os.urandom(12), time.time_ns(), row)


# XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) on ChaCha20-Poly1305 (RFC 8439) -------------------------------------

CHACHA_CONSTANT = struct.unpack("<4I", b"expand 32-byte k")
CHACHA_COLUMNS = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
CHACHA_DIAGONALS = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def rotate_left(x, bits):
    return ((x << bits) | (x >> (32 - bits))) & 0xffffffff


def quarter_round(state, a, b, c, d):
    for into, add, turn, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        state[into] = (state[into] + state[add]) & 0xffffffff
        state[turn] = rotate_left(state[turn] ^ state[into], bits)


def hchacha20(key, nonce16):
    """Subkey from a 32-byte key and a 16-byte nonce."""
    state = [*CHACHA_CONSTANT, *struct.unpack("<8I", key), *struct.unpack("<4I", nonce16)]
    for _ in range(10):
        for quarter in CHACHA_COLUMNS + CHACHA_DIAGONALS:
            quarter_round(state, *quarter)
    return struct.pack("<8I", *state[:4], *state[12:])


def xchacha(key, nonce24):
    """(ChaCha20-Poly1305 under the subkey, its 12-byte nonce)."""
    return ChaCha20Poly1305(hchacha20(key, nonce24[:16])), bytes(4) + nonce24[16:]


AES_256_GCM = 0x11
XCHACHA20_POLY1305 = 0x12
SUITES = (AES_256_GCM, XCHACHA20_POLY1305)


def aead_parts(suite, key, iv):
    if suite == AES_256_GCM:
        return AESGCM(key), iv
    if suite == XCHACHA20_POLY1305:
        return xchacha(key, iv)
    raise Malformed("unknown suite")


def aead_encrypt(suite, key, iv, aad, plaintext):
    cipher, nonce = aead_parts(suite, key, iv)
    return cipher.encrypt(nonce, plaintext, aad)


def aead_decrypt(suite, key, iv, aad, ciphertext):
    cipher, nonce = aead_parts(suite, key, iv)
    try:
        return cipher.decrypt(nonce, ciphertext, aad)
    except InvalidTag:
        raise Authentication("AEAD tag") from None


# ---------------------------------------------------------------------------------------------------------------------
# Section 2: identity
# ---------------------------------------------------------------------------------------------------------------------

NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
MAX_ROW_ID = 1024
MAX_COMPOSITE = 4096
MAX_PARTS = 16
MAX_EXTRA = 1024


def name(text):
    """A logical name as bytes."""
    if not isinstance(text, str) or not NAME.fullmatch(text):
        raise Config(f"bad name {text!r}")
    return text.encode("ascii")


def opt_name(text):
    return opt(None if text is None else name(text))


def row_id_int(value):
    if not -2**63 <= value < 2**63:
        raise Unsealable("integer row id outside i64")
    return b"i" + struct.pack(">q", value)


def row_id_uuid(value):
    return check_row_id(b"u" + value.bytes)


def row_id_text(value):
    return check_row_id(b"s" + value.encode("utf-8"))


def row_id_bytes(value):
    return check_row_id(b"b" + value)


def row_id_composite(*parts):
    return check_row_id(b"c" + lp(*parts))


def check_row_id(encoded):
    """`encoded`, if it is a valid typed row id."""
    kind, body = encoded[:1], encoded[1:]
    if kind == b"c":
        check_composite(encoded)
    else:
        check_simple_row_id(kind, body)
    return encoded


def check_composite(encoded):
    if len(encoded) > MAX_COMPOSITE:
        raise Unsealable("composite row id too long")
    try:
        parts = lp_decode(encoded[1:])
    except Malformed as error:
        raise Unsealable(f"composite row id: {error}") from None
    if not 1 <= len(parts) <= MAX_PARTS:
        raise Unsealable("composite row id must have 1 to 16 parts")
    for part in parts:
        check_simple_row_id(part[:1], part[1:])


def check_simple_row_id(kind, body):
    fits = {b"i": len(body) == 8, b"u": len(body) == 16,
            b"s": len(body) <= MAX_ROW_ID and is_utf8(body), b"b": len(body) <= MAX_ROW_ID}
    if not fits.get(kind, False):
        raise Unsealable("not a typed row id")


def is_utf8(data):
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@dataclass(frozen=True)
class RowIdentity:
    """What the row key binds."""
    app: str
    tenant: str | None
    table: str
    row_id: bytes | None = None
    subject: bytes | None = None

    def encode(self):
        """ROW"""
        for typed in (self.row_id, self.subject):
            if typed is not None:
                check_row_id(typed)
        return lp(name(self.app), opt_name(self.tenant), name(self.table), opt(self.row_id), opt(self.subject))


def field_context(column, extra):
    """FIELD"""
    if extra is not None and len(extra) > MAX_EXTRA:
        raise Unsealable("extra too long")
    return lp(name(column), opt(extra))


# ---------------------------------------------------------------------------------------------------------------------
# Section 3: token
# ---------------------------------------------------------------------------------------------------------------------

HEAD_LENGTH = 1 + 4 + 12
TAG_LENGTH = 16
MIN_TOKEN = 63
MIB = 1024 * 1024
MAX_CIPHERTEXT = 18 * MIB
MAX_VALUE = 16 * MIB
TEXT_PREFIX = "phi1."
BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Token:
    suite: int
    key_id: int
    salt: bytes
    commitment: bytes
    nonce: bytes
    body: bytes         # ciphertext and tag

    @property
    def head(self):
        return token_head(self.suite, self.key_id, self.salt)

    def encode(self):
        return self.head + self.commitment + self.nonce + self.body


def token_head(suite, key_id, salt):
    return bytes([suite]) + u32(key_id) + salt


def parse_token(data):
    if len(data) < MIN_TOKEN:
        raise Malformed("short token")
    if len(data) > 45 + MAX_CIPHERTEXT + TAG_LENGTH:
        raise Malformed("ciphertext above 18 MiB")
    token = Token(data[0], int.from_bytes(data[1:5], "big"), data[5:17], data[17:33], data[33:45], data[45:])
    if token.suite not in SUITES:
        raise Malformed("unknown suite")
    if token.key_id == 0:
        raise Malformed("key id 0")
    return token


def to_text(token):
    return TEXT_PREFIX + base64.urlsafe_b64encode(token).rstrip(b"=").decode("ascii")


def from_text(text):
    """The token's bytes; a token has exactly one text form."""
    digits = text.removeprefix(TEXT_PREFIX)
    if digits == text or not BASE64URL.fullmatch(digits) or len(digits) % 4 == 1:
        raise Malformed("text form")
    token = base64.urlsafe_b64decode(digits + "=" * (-len(digits) % 4))
    if to_text(token) != text:
        raise Malformed("text form has trailing bits")
    return token


# ---------------------------------------------------------------------------------------------------------------------
# Section 5: frame
# ---------------------------------------------------------------------------------------------------------------------

NULL, TEXT, BYTES, INTEGER, BOOL, DATE, TIMESTAMP, DECIMAL, JSON, FLOAT, UUID = range(11)
DATE_PATTERN = re.compile(rb"([0-9]{4})-([0-9]{2})-([0-9]{2})")
TIMESTAMP_PATTERN = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]*[1-9])?Z")
DECIMAL_PATTERN = re.compile(rb"-?[0-9]+(\.[0-9]+)?")
JSON_SPACE = " \t\n\r"
JSON_TOKEN = re.compile(r"""[ \t\n\r]*+(?:
    (?P<mark>[{}\[\]:,])
  | (?P<string>"(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*+")
  | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+)
  | (?P<word>true|false|null))""", re.VERBOSE)


def is_date(value):
    match = DATE_PATTERN.fullmatch(value)
    if not match:
        return False
    try:
        datetime.date(*map(int, match.groups()))    # proleptic Gregorian, years 1 to 9999
    except ValueError:
        return False
    return True


def is_timestamp(value):
    match = TIMESTAMP_PATTERN.fullmatch(value)
    if not match or not is_date(match[1]):
        return False
    return int(match[2]) <= 23 and int(match[3]) <= 59 and int(match[4]) <= 59


def is_decimal(value):
    return DECIMAL_PATTERN.fullmatch(value) is not None


def is_json(value):
    """RFC 8259 grammar, without recursion and without a limit on depth or on numbers."""
    if not is_utf8(value) or value.startswith(b"\xef\xbb\xbf"):
        return False
    text, position, machine = value.decode("utf-8"), 0, JsonMachine()
    while match := JSON_TOKEN.match(text, position):
        kind = match.lastgroup
        if not machine.step(match[kind] if kind == "mark" else kind):
            return False
        position = match.end()
    return machine.expect == {"end"} and not text[position:].strip(JSON_SPACE)


class JsonMachine:
    """Which token may follow; one step a token."""

    VALUE = {"{", "[", "string", "number", "word"}

    def __init__(self):
        self.expect = self.VALUE
        self.open = []          # closing mark of each open object or array
        self.wants_key = False  # the next string is a member name

    def step(self, token):
        if token not in self.expect:
            return False
        if token in "{[":
            self.begin("}" if token == "{" else "]")
        elif token in "}]":
            self.open.pop()
            self.after_value()
        elif token == ",":
            self.after_comma()
        elif token == ":":
            self.expect = self.VALUE
        elif self.wants_key:
            self.wants_key, self.expect = False, {":"}
        else:
            self.after_value()
        return True

    def begin(self, closing):
        self.open.append(closing)
        self.wants_key = closing == "}"
        self.expect = {"string", "}"} if self.wants_key else self.VALUE | {"]"}

    def after_comma(self):
        self.wants_key = self.open[-1] == "}"
        self.expect = {"string"} if self.wants_key else self.VALUE

    def after_value(self):
        self.wants_key = False
        self.expect = {",", self.open[-1]} if self.open else {"end"}


WELL_FORMED = {
    NULL: lambda v: v == b"",
    TEXT: is_utf8,
    BYTES: lambda v: True,
    INTEGER: lambda v: len(v) == 8,
    BOOL: lambda v: v in (b"\x00", b"\x01"),
    DATE: is_date,
    TIMESTAMP: is_timestamp,
    DECIMAL: is_decimal,
    JSON: is_json,
    FLOAT: lambda v: len(v) == 8,
    UUID: lambda v: len(v) == 16,
}


def is_well_formed(tag, value):
    return tag in WELL_FORMED and WELL_FORMED[tag](value)


def parse_padding(text):
    """("block" | "fixed" | "padme" | "none", n) from `block:16`, `fixed:32`, `padme:64`, `none:0`."""
    kind, _, digits = text.partition(":")
    n = int(digits or 0)
    good = {"block": n == 16, "none": n == 0, "fixed": 2 <= n <= MAX_CIPHERTEXT, "padme": 2 <= n <= MAX_CIPHERTEXT}
    if not good.get(kind, False):
        raise Config(f"bad padding {text!r}")
    return kind, n


def padded_length(length, padding):
    kind, n = parse_padding(padding)
    if kind == "block":
        return round_up(length, 16)
    if kind == "fixed":
        if length > n:
            raise Unsealable("value too long for fixed padding")
        return n
    if kind == "padme":
        return n if length <= n else padme(length)
    return length


def padme(length):
    e = length.bit_length() - 1
    s = e.bit_length()
    return round_up(length, 1 << (e - s))


def round_up(x, unit):
    return -(-x // unit) * unit


def make_frame(tag, value, padding):
    if len(value) > MAX_VALUE or not is_well_formed(tag, value):
        raise Unsealable("value")
    if tag == BOOL and parse_padding(padding)[0] == "none":
        raise Unsealable("a bool needs padding")
    bare = bytes([tag]) + value + b"\x80"
    frame = bare.ljust(padded_length(len(bare), padding), b"\x00")
    if len(frame) > MAX_CIPHERTEXT:
        raise Unsealable("padded value above 18 MiB")
    return frame


def split_frame(frame):
    """(type, value), whatever the padding; does not look at the value."""
    body = frame.rstrip(b"\x00")
    if len(body) < 2 or body[-1] != 0x80:
        raise Authentication("frame")
    return body[0], body[1:-1]


def open_frame(frame, declared=None, nullable=False):
    """(type, value), checked; `declared` None accepts every type."""
    tag, value = split_frame(frame)
    if declared is not None and tag != declared and not (tag == NULL and nullable):
        raise Authentication("type")
    if not is_well_formed(tag, value):
        raise Authentication("value")
    return tag, value


# ---------------------------------------------------------------------------------------------------------------------
# Section 4: seal and open
# ---------------------------------------------------------------------------------------------------------------------

def row_key(data_key, head, row):
    """(K_row, COM)"""
    derived = kdf(data_key, "phield.v1.row", head + row, 48)
    return derived[:32], derived[32:]


def token_iv(suite, salt, nonce):
    return nonce if suite == AES_256_GCM else salt + nonce


def seal_field(suite, key_id, data_key, salt, nonce, row, field_ctx, frame):
    """One token from explicit salt and nonce."""
    head = token_head(suite, key_id, salt)
    key, commitment = row_key(data_key, head, row)
    body = aead_encrypt(suite, key, token_iv(suite, salt, nonce), head + commitment + field_ctx, frame)
    return Token(suite, key_id, salt, commitment, nonce, body).encode()


def decrypt_body(token, key, field_ctx):
    """The AEAD alone, without the commitment check."""
    iv = token_iv(token.suite, token.salt, token.nonce)
    return aead_decrypt(token.suite, key, iv, token.head + token.commitment + field_ctx, token.body)


def open_with_data_key(token, data_key, row, field_ctx, declared=None, nullable=False):
    """Derive, compare COM, AEAD, unframe."""
    key, commitment = row_key(data_key, token.head, row)
    if not same(commitment, token.commitment):
        raise Authentication("commitment")
    return open_frame(decrypt_body(token, key, field_ctx), declared, nullable)


ANY_SCOPE = object()


def open_token(ring, data, row, column, extra, declared=None, nullable=False, scopes=ANY_SCOPE):
    """(type, value), in the page's order. `scopes`: those that configuration lists for this table and tenant."""
    token = parse_token(data)
    record = ring.record(token.key_id)
    if record.use != "data":
        raise Authentication("use")
    if record.state == DESTROYED:
        raise KeyState("data key is destroyed")
    if record.suite != token.suite:
        raise Authentication("suite")
    if scopes is not ANY_SCOPE and record.scope not in scopes:
        raise Authentication("scope")
    if record.state == COMPROMISED:
        print(f"note: opened under compromised key {record.key_id:08x}", file=sys.stderr)
    return open_with_data_key(token, ring.key(record.key_id), row.encode(), field_context(column, extra), declared, nullable)


@dataclass(frozen=True)
class Field:
    """A field to be sealed."""
    column: str
    tag: int
    value: bytes
    padding: str = "block:16"
    extra: bytes | None = None


def seal_row(ring, scope, row, fields):
    """Tokens of one row: one fresh salt, one nonce a field, under the active data key of the scope."""
    record = ring.active("data", scope)
    encoded, data_key = row.encode(), ring.key(record.key_id)
    contexts = [field_context(item.column, item.extra) for item in fields]
    if len(set(contexts)) != len(contexts):
        raise Unsealable("the same field twice in one call")
    frames = [make_frame(item.tag, item.value, item.padding) for item in fields]
    salt = fresh_salt(data_key, encoded)
    return [seal_field(record.suite, record.key_id, data_key, salt, os.urandom(12), encoded, context, frame)
            for context, frame in zip(contexts, frames)]


# ---------------------------------------------------------------------------------------------------------------------
# Section 7: blind index and UID
# ---------------------------------------------------------------------------------------------------------------------

ARGON2_ALGORITHM = re.compile(r"argon2id-m([1-9][0-9]*)-t([1-9][0-9]*)-p([1-9][0-9]*)")
PBKDF2_ALGORITHM = re.compile(r"pbkdf2-sha256-i([1-9][0-9]*)")
MIN_ARGON2_MEMORY = 65_536
MIN_INDEX_ARGON2_TIME = 3
MIN_PBKDF2 = 600_000


def argon2id(secret, salt, m, t, p):
    return hash_secret_raw(secret, salt, time_cost=t, memory_cost=m, parallelism=p, hash_len=32,
                           type=Argon2Type.ID, version=0x13)


def pbkdf2(secret, salt, iterations):
    return hashlib.pbkdf2_hmac("sha256", secret, salt, iterations, 32)


@dataclass(frozen=True)
class IndexDefinition:
    """An index of a table; `column` and `normalizer` are joined with `+` when it is compound."""
    app: str
    tenant: str | None
    table: str
    column: str
    index: str
    normalizer: str
    algorithm: str
    bits: int

    def context(self, parts):
        """ICTX, for an index of so many values"""
        return lp(b"phield.v1.ictx", name(self.app), opt_name(self.tenant), name(self.table), joined(self.column, parts),
                  name(self.index), joined(self.normalizer, parts), name(self.algorithm))


def joined(text, count):
    parts = text.split("+")
    if len(parts) != count:
        raise Config(f"{text!r} has {len(parts)} parts, there are {count} values")
    return b"+".join(name(part) for part in parts)


def index_key(pepper, context):
    return kdf(pepper, "phield.v1.index", context, 32)


def index_salt(pepper, context):
    return kdf(pepper, "phield.v1.index-salt", context, 16)


def index_tag(pepper, context, algorithm, values):
    """t"""
    if algorithm == "hmac-sha256":
        return mac(index_key(pepper, context), b"\x00" + lp(*values))
    if algorithm == "device-hmac-sha256":
        return kdf(pepper, "phield.v1.index-device", lp(sha256(context), sha256(lp(*values))), 32)
    key = index_key(pepper, context)
    stretched = stretch(algorithm, mac(key, b"\x01" + lp(*values)), index_salt(pepper, context))
    return mac(key, b"\x02" + stretched)


def stretch(algorithm, secret, salt):
    """h of the slow algorithms"""
    if match := ARGON2_ALGORITHM.fullmatch(algorithm):
        m, t, p = map(int, match.groups())
        if m >= MIN_ARGON2_MEMORY and t >= MIN_INDEX_ARGON2_TIME:
            return argon2id(secret, salt, m, t, p)
    elif match := PBKDF2_ALGORITHM.fullmatch(algorithm):
        if int(match[1]) >= MIN_PBKDF2:
            return pbkdf2(secret, salt, int(match[1]))
    raise Config(f"index algorithm {algorithm!r}")


def truncate_bits(data, bits):
    """The first `bits` bits, unused low bits of the last byte 0."""
    if not 1 <= bits <= 256:
        raise Config("index bits must be 1 to 256")
    out = bytearray(data[:math.ceil(bits / 8)])
    out[-1] &= 0xff << (-bits % 8) & 0xff
    return bytes(out)


def index_value(pepper, key_id, definition, values):
    tag = index_tag(pepper, definition.context(len(values)), definition.algorithm, values)
    return u32(key_id) + truncate_bits(tag, definition.bits)


def uid_context(app, tenant, domain_kind, domain_name, session):
    """UCTX"""
    if domain_kind not in ("group", "session", "export"):
        raise Config(f"domain kind {domain_kind!r}")
    if (session is not None) != (domain_kind == "session") or (session is not None and len(session) != 16):
        raise Config("a session id of 16 bytes belongs to the kind session alone")
    return lp(b"phield.v1.uctx", name(app), opt_name(tenant), name(domain_kind), name(domain_name), opt(session))


def uid_key(pepper, context):
    return kdf(pepper, "phield.v1.uid", context, 32)


def make_uid(key, id_kind, identifier):
    """Text of the UUIDv8."""
    if id_kind == "surrogate" and len(identifier) != 16:
        raise Config("a surrogate has 16 bytes")
    out = bytearray(mac(key, b"\x00" + lp(name(id_kind), identifier))[:16])
    out[6] = out[6] & 0x0f | 0x80
    out[8] = out[8] & 0x3f | 0x80
    return str(uuid.UUID(bytes=bytes(out)))


# ---------------------------------------------------------------------------------------------------------------------
# Section 8.1: key records and wraps
# ---------------------------------------------------------------------------------------------------------------------

PRE_ACTIVE, ACTIVE, DECRYPT_ONLY, COMPROMISED, DESTROYED = range(5)
USES = ("data", "index", "uid", "subject", "ring")
WRAP_LENGTH = 1 + 32 + 12 + KEY_LENGTH + TAG_LENGTH
REFERENCE = re.compile(r"[\x20-\x7e]{1,512}")
SEALING_GRACE = 300


@dataclass(frozen=True)
class Record:
    """A key record."""
    ring: str
    key_id: int
    suite: int
    use: str
    scope: str | None
    state: int = ACTIVE
    created: int = 0
    not_after: int = 0
    kcv: bytes = b""
    wraps: tuple = ()       # of (provider, reference, bytes)

    def encode(self):
        """KREC"""
        return lp(b"phield.v1.keyrec", name(self.ring), u32(self.key_id), bytes([self.suite]), name(self.use),
                  opt_name(self.scope))

    def encode_full(self):
        """R_k"""
        wraps = lp(*(lp(p.encode("ascii"), r.encode("ascii"), w) for p, r, w in sorted(self.wraps, key=wrap_order)))
        return lp(self.encode(), bytes([self.state]), u64(self.created), u64(self.not_after), self.kcv, wraps)


def wrap_order(wrap):
    provider, reference, _ = wrap
    return provider.encode("ascii"), reference.encode("ascii")


def check_value(key, krec):
    """KCV"""
    return kdf(key, "phield.v1.kcv", krec, 32)


def wrap_key(kek, r, krec):
    return kdf(kek, "phield.v1.wrap", lp(krec, r), 32)


def derived_wrap(kek, krec, key, r, nonce):
    """W"""
    body = AESGCM(wrap_key(kek, r, krec)).encrypt(nonce, key, b"\x01" + r + krec)
    return b"\x01" + r + nonce + body


def derived_unwrap(kek, krec, wrap):
    if len(wrap) != WRAP_LENGTH or wrap[0] != 1:
        raise Malformed("derived wrap")
    r, nonce, body = wrap[1:33], wrap[33:45], wrap[45:]
    return aead_decrypt(AES_256_GCM, wrap_key(kek, r, krec), nonce, b"\x01" + r + krec, body)


def share_record(krec, i):
    return lp(b"phield.v1.share", krec, bytes([i]))


def parse_split_reference(reference):
    """((provider, reference), (provider, reference))"""
    parts = reference.split("|")
    if len(reference) > 512 or len(parts) != 4 or not all(parts):
        raise Malformed("split reference")
    first, second = (parts[0], parts[1]), (parts[2], parts[3])
    if first == second or "split" in (parts[0], parts[2]):
        raise Malformed("split reference")
    return first, second


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def split_unwrap(keks, krec, reference, wrap):
    shares = [derived_unwrap(allowed_kek(keks, *which), share_record(krec, i), part)
              for i, (which, part) in enumerate(zip(parse_split_reference(reference), lp_decode(wrap, 2)), start=1)]
    return xor(*shares)


def allowed_kek(keks, provider, reference):
    """`keks` is the allow-list: {(provider, reference): 32-byte key}."""
    if (provider, reference) not in keks:
        raise Config(f"KEK {provider} {reference!r} is not on the allow-list")
    return keks[provider, reference]


def is_usable(keks, provider, reference):
    if provider == "split":
        return all(which in keks for which in parse_split_reference(reference))
    return (provider, reference) in keks


def unwrap_record(keks, record):
    """The record's key. Every wrap that the allow-list permits must give the key of the KCV."""
    usable = [wrap for wrap in record.wraps if is_usable(keks, wrap[0], wrap[1])]
    if not usable:
        raise no_usable_wrap(record)
    keys = {unwrap(keks, record.encode(), *wrap) for wrap in usable}
    key = keys.pop()
    if keys or not same(check_value(key, record.encode()), record.kcv):
        raise Authentication(f"KCV of key {record.key_id:08x}")
    return key


def no_usable_wrap(record):
    if any(provider in ("local", "split") for provider, _, _ in record.wraps):
        return Config(f"no KEK of key {record.key_id:08x} is on the allow-list")
    return KeyUnavailable(f"key {record.key_id:08x} has no local wrap")


def unwrap(keks, krec, provider, reference, wrap):
    if provider == "split":
        return split_unwrap(keks, krec, reference, wrap)
    return derived_unwrap(allowed_kek(keks, provider, reference), krec, wrap)


def kms_context(record, share=None):
    """Encryption context of an AWS KMS wrap."""
    pairs = {"phield:v": "1", "phield:ring": record.ring, "phield:key": f"{record.key_id:08x}",
             "phield:suite": f"{record.suite:02x}", "phield:use": record.use}
    if record.scope is not None:
        pairs["phield:scope"] = record.scope
    if share is not None:
        pairs["phield:share"] = str(share)
    return pairs


# ---------------------------------------------------------------------------------------------------------------------
# Section 8.2: ring manifest
# ---------------------------------------------------------------------------------------------------------------------

PIN = re.compile(r"([0-9a-f]{8}):([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    key_id: int
    kcv: bytes


def parse_pin(text):
    match = PIN.fullmatch(text)
    if not match or int(match[1], 16) == 0:
        raise Config("ring key pin")
    return Pin(int(match[1], 16), bytes.fromhex(match[2]))


@dataclass(frozen=True)
class Manifest:
    ring: str
    app: str
    epoch: int
    records: tuple

    def encode(self):
        return lp(b"phield.v1.manifest", name(self.ring), name(self.app), u64(self.epoch),
                  *(record.encode_full() for record in sorted(self.records, key=lambda record: record.key_id)))


def manifest_mac(ring_key, manifest):
    return kdf(ring_key, "phield.v1.manifest", sha256(manifest), 32)


@dataclass
class Ring:
    """A verified manifest with its unwrapped keys."""
    manifest: Manifest
    keys: dict = field(default_factory=dict)

    @property
    def app(self):
        return self.manifest.app

    def record(self, key_id):
        for record in self.manifest.records:
            if record.key_id == key_id:
                return record
        raise UnknownKey(f"{key_id:08x}")

    def key(self, key_id):
        return self.keys[key_id]

    def active(self, use, scope):
        """The record that seals."""
        for record in self.manifest.records:
            if (record.use, record.scope, record.state) == (use, scope, ACTIVE):
                if record.not_after and time.time() >= record.not_after + SEALING_GRACE:
                    raise KeyState(f"key {record.key_id:08x} is past its last second")
                return record
        raise KeyState(f"no active {use} key for scope {scope!r}")


def fixed(data, length):
    if len(data) != length:
        raise Malformed(f"{len(data)} bytes where {length} belong")
    return data


def integer(data, length):
    return int.from_bytes(fixed(data, length), "big")


def ascii_text(data):
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("not ASCII") from None


def parse_record(data):
    """R_k: structure and lengths alone."""
    krec, state, created, not_after, kcv, wraps = lp_decode(data, 6)
    label, ring, key_id, suite, use, scope = lp_decode(krec, 6)
    if label != b"phield.v1.keyrec":
        raise Malformed("key record label")
    scope = opt_decode(scope)
    return Record(ascii_text(ring), integer(key_id, 4), integer(suite, 1), ascii_text(use),
                  None if scope is None else ascii_text(scope), integer(state, 1), integer(created, 8),
                  integer(not_after, 8), fixed(kcv, 32), tuple(parse_wrap(wrap) for wrap in lp_decode(wraps)))


def parse_wrap(data):
    provider, reference, wrap = lp_decode(data, 3)
    return ascii_text(provider), ascii_text(reference), wrap


def parse_manifest(data):
    """Structure, lengths and ascending ids."""
    items = lp_decode(data)
    if len(items) < 4 or items[0] != b"phield.v1.manifest":
        raise Malformed("manifest label")
    records = tuple(parse_record(item) for item in items[4:])
    ids = [record.key_id for record in records]
    if ids != sorted(set(ids)) or 0 in ids:
        raise Malformed("key ids do not ascend")
    return Manifest(ascii_text(items[1]), ascii_text(items[2]), integer(items[3], 8), records)


def open_manifest(stored, pins, keks, app=None, ring=None):
    """The ring, checked in the page's order. `app` and `ring` None: as the manifest says."""
    if len(stored) < 32:
        raise Malformed("manifest")
    manifest = parse_manifest(stored[:-32])
    used, ring_key = verify_under_first_pin(manifest, stored, pins, keks)
    check_configuration(manifest, app, ring)
    check_records(manifest)
    if used.state in (COMPROMISED, DESTROYED):
        raise KeyState("ring key")
    keys = {record.key_id: unwrap_record(keks, record) for record in manifest.records if record.state != DESTROYED}
    assert keys[used.key_id] == ring_key
    return Ring(manifest, keys)


def verify_under_first_pin(manifest, stored, pins, keks):
    """(record, key) of the first pin that verifies; else the error of the first."""
    errors = []
    for pin in pins:
        try:
            return verify_under_pin(manifest, stored, pin, keks)
        except PhieldError as error:
            errors.append(error)
    raise errors[0] if errors else Config("no ring key pin")


def verify_under_pin(manifest, stored, pin, keks):
    record = next((record for record in manifest.records if record.key_id == pin.key_id), None)
    if record is None or record.use != "ring":
        raise Authentication("pinned ring key")
    if record.state == DESTROYED and not record.wraps:
        raise KeyState("ring key")
    key = unwrap_record(keks, record)       # compares the recomputed KCV with the stored one
    if not same(record.kcv, pin.kcv):
        raise Authentication("KCV of the ring key")
    if not same(manifest_mac(key, stored[:-32]), stored[-32:]):
        raise Authentication("MAC of the manifest")
    return record, key


def check_configuration(manifest, app, ring):
    for configured, found in ((app, manifest.app), (ring, manifest.ring)):
        if configured is not None and configured != found:
            raise Authentication("ring or app is not as configured")
    name(manifest.app)
    name(manifest.ring)


def check_records(manifest):
    """Names, states, wraps and the one-active rule."""
    active = set()
    for record in manifest.records:
        if record.ring != manifest.ring:
            raise Authentication("ring or app is not as configured")
        check_record(record)
        if record.state == ACTIVE and (record.use, record.scope) in active:
            raise Malformed("two active keys for one use and scope")
        if record.state == ACTIVE:
            active.add((record.use, record.scope))


def check_record(record):
    if record.use not in USES or record.state > DESTROYED:
        raise Malformed("use or state")
    if record.suite not in (SUITES if record.use == "data" else (0,)):
        raise Malformed("suite of a key record")
    if record.scope is not None:
        name(record.scope)
    if (record.state == DESTROYED) != (not record.wraps):
        raise Malformed("destroyed with wraps, or another state without")
    check_wraps(record.wraps)


def check_wraps(wraps):
    order = [wrap_order(wrap) for wrap in wraps]
    if order != sorted(set(order)):
        raise Malformed("wraps out of order or twice")
    for provider, reference, _ in wraps:
        name(provider)
        if not REFERENCE.fullmatch(reference):
            raise Malformed("KEK reference")
        if provider == "split":
            parse_split_reference(reference)
    if len({provider == "split" for provider, _, _ in wraps}) > 1:
        raise Malformed("a dual-controlled key with another kind of wrap")


# ---------------------------------------------------------------------------------------------------------------------
# Section 8.3: subject keys
# ---------------------------------------------------------------------------------------------------------------------

def subject_record(ring, key_id, tenant, subject):
    """SREC"""
    return lp(b"phield.v1.subjrec", name(ring), u32(key_id), opt_name(tenant), check_row_id(subject))


def subject_data_key(data_key, secret, subject):
    return kdf(data_key, "phield.v1.subject", secret + lp(subject), 32)


def store_subject_secret(ring, key_id, record_key, tenant, subject, secret, r, nonce):
    srec = subject_record(ring, key_id, tenant, subject)
    return u32(key_id) + derived_wrap(record_key, srec, secret, r, nonce)


def open_subject_secret(ring, stored, tenant, subject):
    """S"""
    if len(stored) not in (4, 4 + WRAP_LENGTH) or stored[:4] == bytes(4):
        raise Malformed("subject secret")
    if len(stored) == 4:
        raise KeyState("tombstone")
    record = ring.record(int.from_bytes(stored[:4], "big"))
    if record.use != "subject":
        raise Authentication("use")
    if record.state == DESTROYED:
        raise KeyState("subject record is destroyed")
    srec = subject_record(ring.manifest.ring, record.key_id, tenant, subject)
    return derived_unwrap(ring.key(record.key_id), srec, stored[4:])


# ---------------------------------------------------------------------------------------------------------------------
# Section 8.4: local key file
# ---------------------------------------------------------------------------------------------------------------------

MAGIC = b"PHLK"
FILE_VERSION = 1
KDF_ARGON2ID, KDF_PBKDF2 = 1, 2
FILE_PREFIX = 63
MAX_ARGON2_MEMORY = 4_194_304
MAX_ARGON2_TIME = MAX_ARGON2_LANES = 16
MAX_FILE_PBKDF2 = 100_000_000


@dataclass(frozen=True)
class FileKdf:
    """KDF byte and parameters of a key file."""
    kind: int
    m: int
    t: int
    p: int

    def encode(self):
        return bytes([self.kind]) + u32(self.m) + u32(self.t) + bytes([self.p])

    def check(self):
        if self.kind == KDF_ARGON2ID:
            good = (MIN_ARGON2_MEMORY <= self.m <= MAX_ARGON2_MEMORY and 1 <= self.t <= MAX_ARGON2_TIME
                    and 1 <= self.p <= MAX_ARGON2_LANES)
        else:
            good = self.m == self.p == 0 and MIN_PBKDF2 <= self.t <= MAX_FILE_PBKDF2
        if not good:
            raise Config("key file parameters out of bounds")

    def master(self, passphrase, salt):
        """M"""
        self.check()
        if self.kind == KDF_ARGON2ID:
            return argon2id(passphrase, salt, self.m, self.t, self.p)
        return pbkdf2(passphrase, salt, self.t)


@dataclass(frozen=True)
class FileKey:
    """A KEK of the key file."""
    key_id: int
    created: int
    state: int
    key: bytes

    def encode(self):
        return lp(u32(self.key_id), u64(self.created), bytes([self.state]), self.key)


def file_commitment(master, prefix):
    return kdf(master, "phield.v1.local-commit", prefix, 16)


def file_cipher(master, prefix):
    return AESGCM(kdf(master, "phield.v1.local", prefix, 32))


def make_key_file(keys, passphrase, params, salt, nonce):
    prefix = MAGIC + bytes([FILE_VERSION]) + params.encode() + salt
    master = params.master(passphrase, salt)
    head = prefix + file_commitment(master, prefix)
    body = file_cipher(master, prefix).encrypt(nonce, lp(*(key.encode() for key in keys)), head)
    return head + nonce + u32(len(body)) + body


def open_key_file(data, passphrase):
    """The KEKs."""
    if len(data) < FILE_PREFIX + TAG_LENGTH or data[:5] != MAGIC + bytes([FILE_VERSION]):
        raise Malformed("key file")
    if int.from_bytes(data[59:63], "big") != len(data) - FILE_PREFIX:
        raise Malformed("key file length")
    if data[5] not in (KDF_ARGON2ID, KDF_PBKDF2):
        raise Malformed("key file KDF")
    params = FileKdf(data[5], int.from_bytes(data[6:10], "big"), int.from_bytes(data[10:14], "big"), data[14])
    master = params.master(passphrase, data[15:31])
    if not same(file_commitment(master, data[:31]), data[31:47]):
        raise Authentication("commitment of the key file")
    return parse_file_keys(decrypt_key_file(data, master))


def decrypt_key_file(data, master):
    try:
        return file_cipher(master, data[:31]).decrypt(data[47:59], data[63:], data[:47])
    except InvalidTag:
        raise Authentication("key file tag") from None


def parse_file_keys(plaintext):
    keys = []
    for item in lp_decode(plaintext):
        key_id, created, state, key = lp_decode(item, 4)
        keys.append(FileKey(integer(key_id, 4), integer(created, 8), integer(state, 1), fixed(key, KEY_LENGTH)))
    ids = [key.key_id for key in keys]
    if ids != sorted(set(ids)) or any(key.state > DESTROYED for key in keys):
        raise Malformed("ids or states in the key file")
    return keys


def local_keks(keys):
    """Allow-list of the provider `local`: every key of the file that is not destroyed."""
    return {("local", str(key.key_id)): key.key for key in keys if key.state != DESTROYED}


def read_private_file(path):
    """The file, unless it is a symlink, somebody else's, or open to group or world."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        raise Config(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "rb") as file:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077 or info.st_uid != os.geteuid():
            raise Config(f"{path}: not a private file of this user")
        return file.read()


def read_passphrase(path):
    with open(path, "rb") as file:
        passphrase = file.read().removesuffix(b"\n")
    if not is_utf8(passphrase):
        raise Config("passphrase is not UTF-8")
    return passphrase


def load_ring(args):
    """The ring named by the command line."""
    keks = local_keks(open_key_file(read_private_file(args.key_file), read_passphrase(args.passphrase_file)))
    with open(args.manifest, "rb") as file:
        stored = file.read()
    return open_manifest(stored, [parse_pin(pin) for pin in args.ring_key], keks, args.app, args.ring)


# ---------------------------------------------------------------------------------------------------------------------
# Command `vectors`
# ---------------------------------------------------------------------------------------------------------------------

class Mismatch(Exception):
    """A difference from a vector, or from a case of the self-test."""


class Vector:
    """A vector that knows which of its fields were looked at."""

    def __init__(self, fields):
        self.fields = fields
        self.seen = {"name"}

    def __contains__(self, key):
        return key in self.fields

    def __getitem__(self, key):
        self.seen.add(key)
        return self.fields[key]

    def bytes(self, key):
        value = self[key]
        return None if value is None else bytes.fromhex(value)

    def check(self, key, computed):
        """Compare; bytes are hex in the file."""
        if isinstance(computed, (bytes, bytearray)):
            computed = computed.hex()
        if self[key] != computed:
            raise Mismatch(f"{key}: vector {self[key]!r}, computed {computed!r}")

    def require(self, key, condition):
        """A check that has no value of its own, reported under the field that it concerns."""
        self.seen.add(key)
        if not condition:
            raise Mismatch(f"{key}: does not round-trip")

    def check_all_seen(self):
        if left := set(self.fields) - self.seen:
            raise Mismatch(f"{', '.join(sorted(left))}: not covered by this checker")


def vector_kdf(v):
    v.check("output", kdf(v.bytes("key"), v["label"], v.bytes("context"), v["length"]))


def vector_row(v):
    return RowIdentity(v["app"], v["tenant"], v["table"], v.bytes("row_id"), v.bytes("subject"))


def vector_data_key(v):
    """The data key, or the subject's where the vector has a subject secret."""
    data_key, secret = v.bytes("data_key"), v.bytes("subject_secret")
    if secret is None:
        v.check("subject_data_key", None)
        return data_key
    derived = subject_data_key(data_key, secret, v.bytes("subject"))
    v.check("subject_data_key", derived)
    return derived


def vector_token(v):
    suite, salt, tag, value = int(v["suite"], 16), v.bytes("salt"), int(v["type"], 16), v.bytes("value")
    data_key, row, context = vector_data_key(v), vector_row(v).encode(), field_context(v["column"], v.bytes("extra"))
    v.check("row_context", row)
    v.check("field_context", context)
    key, commitment = row_key(data_key, token_head(suite, v["key_id"], salt), row)
    v.check("row_key", key)
    v.check("commitment", commitment)
    frame = make_frame(tag, value, v["padding"])
    v.check("frame", frame)
    token = seal_field(suite, v["key_id"], data_key, salt, v.bytes("nonce"), row, context, frame)
    v.check("token", token)
    v.check("text", to_text(token))
    v.require("text", from_text(v["text"]) == v.bytes("token"))
    v.require("token", open_with_data_key(parse_token(v.bytes("token")), data_key, row, context, tag) == (tag, value))


def vector_salt(v):
    v.check("salt", hedged_salt(v.bytes("data_key"), v.bytes("r12"), int(v["clock_ns"]), v.bytes("row_context")))


def vector_index(v):
    definition = IndexDefinition(v["app"], v["tenant"], v["table"], v["column"], v["index"], v["normalizer"],
                                 v["algorithm"], v["bits"])
    pepper, values = v.bytes("pepper"), [bytes.fromhex(value) for value in v["values"]]
    context = definition.context(len(values))
    v.check("context", context)
    if definition.algorithm == "device-hmac-sha256":
        v.check("context_sha256", sha256(context))
        v.check("values_sha256", sha256(lp(*values)))
    else:
        v.check("index_key", index_key(pepper, context))
        fast = definition.algorithm == "hmac-sha256"
        v.check("slow_salt", None if fast else index_salt(pepper, context))
    v.check("output", index_value(pepper, v["key_id"], definition, values))


def vector_uid(v):
    context = uid_context(v["app"], v["tenant"], v["domain_kind"], v["domain_name"], v.bytes("session"))
    v.check("context", context)
    key = uid_key(v.bytes("pepper"), context)
    v.check("uid_key", key)
    v.check("uid", make_uid(key, v["id_kind"], v.bytes("id")))


def vector_record(v):
    return Record(v["ring"], v["key_id"], int(v["suite"], 16), v["use"], v["scope"])


def vector_key(v):
    krec, key, kek, r = vector_record(v).encode(), v.bytes("data_key"), v.bytes("kek"), v.bytes("r")
    v.check("record", krec)
    v.check("check_value", check_value(key, krec))
    if "wrap_key" in v:
        v.check("wrap_key", wrap_key(kek, r, krec))
    v.check("wrapped", derived_wrap(kek, krec, key, r, v.bytes("nonce")))
    v.require("wrapped", derived_unwrap(kek, krec, v.bytes("wrapped")) == key)


def vector_manifest(v, kek_of_wrap):
    """`kek_of_wrap`: KEK of each wrap in the section `keys`, the manifest's vector does not name them."""
    keks = {(provider, reference): kek_of_wrap[wrap]
            for item in v["inputs"] for provider, reference, wrap in item["wraps"]}
    records = tuple(manifest_input(v["ring"], item, keks) for item in v["inputs"])
    for record, expected in zip(records, v["records"], strict=True):
        v.require("records", expected == {"key_id": record.key_id, "bytes": record.encode_full().hex()})
    manifest = Manifest(v["ring"], v["app"], v["epoch"], records)
    v.check("manifest", manifest.encode())
    pin = parse_pin(v["ring_key_pin"])
    ring = open_manifest(v.bytes("stored"), [pin], keks, v["app"], v["ring"])
    v.check("mac", manifest_mac(ring.key(pin.key_id), manifest.encode()))
    v.check("stored", manifest.encode() + manifest_mac(ring.key(pin.key_id), manifest.encode()))
    decoded = tuple(replace(record, wraps=tuple(sorted(record.wraps, key=wrap_order))) for record in records)
    v.require("stored", ring.manifest == replace(manifest, records=decoded))


def manifest_input(ring, item, keks):
    """A record of the manifest; its KCV is computed from the unwrapped key, or from the key of `check_value_of`."""
    left = set(item) - {"key_id", "suite", "use", "scope", "state", "created", "not_after", "wraps", "check_value_of"}
    if left:
        raise Mismatch(f"inputs: {sorted(left)} not covered by this checker")
    wraps = tuple((provider, reference, bytes.fromhex(wrap)) for provider, reference, wrap in item["wraps"])
    record = Record(ring, item["key_id"], int(item["suite"], 16), item["use"], item["scope"], item["state"],
                    item["created"], item["not_after"], wraps=wraps)
    keys = {unwrap(keks, record.encode(), *wrap) for wrap in wraps} or {bytes.fromhex(item["check_value_of"])}
    if len(keys) != 1:
        raise Mismatch("inputs: wraps of different keys")
    return replace(record, kcv=check_value(keys.pop(), record.encode()))


def vector_subject(v):
    tenant, subject, secret = v["tenant"], v.bytes("subject"), v.bytes("secret")
    record_key = v.bytes("subject_record_key")
    v.check("record", subject_record(v["ring"], v["key_id"], tenant, subject))
    v.check("stored", store_subject_secret(v["ring"], v["key_id"], record_key, tenant, subject, secret, v.bytes("r"),
                                           v.bytes("nonce")))
    v.check("tombstone", u32(v["key_id"]))
    record = Record(v["ring"], v["key_id"], 0, "subject", None)
    ring = Ring(Manifest(v["ring"], "emr", 1, (record,)), {record.key_id: record_key})
    v.require("stored", open_subject_secret(ring, v.bytes("stored"), tenant, subject) == secret)
    v.require("tombstone", error_of(open_subject_secret, ring, v.bytes("tombstone"), tenant, subject) is KeyState)


def error_of(function, *args, **kwargs):
    """The error class that a call ends with, or None."""
    try:
        function(*args, **kwargs)
    except PhieldError as error:
        return type(error)
    return None


def vector_split(v):
    krec, key, kek_1, kek_2 = v.bytes("record"), v.bytes("data_key"), v.bytes("kek_1"), v.bytes("kek_2")
    share_1 = v.bytes("share_1")
    v.check("share_2", xor(key, share_1))
    wrapped = lp(derived_wrap(kek_1, share_record(krec, 1), share_1, v.bytes("r_1"), v.bytes("nonce_1")),
                 derived_wrap(kek_2, share_record(krec, 2), xor(key, share_1), v.bytes("r_2"), v.bytes("nonce_2")))
    v.check("wrapped", wrapped)
    keks = dict(zip(parse_split_reference(v["reference"]), (kek_1, kek_2)))
    v.require("wrapped", unwrap(keks, krec, "split", v["reference"], v.bytes("wrapped")) == key)


def vector_kms_context(v):
    v.check("pairs", kms_context(vector_record(v), v["share"] if "share" in v else None))


def vector_local_file(v):
    params = FileKdf(KDF_PBKDF2, 0, v["pbkdf2"]["iterations"], 0) if "pbkdf2" in v else argon2_params(v["argon2"])
    passphrase = v["passphrase"].encode("utf-8")
    keys = [FileKey(key["id"], key["created"], key["state"], bytes.fromhex(key["key"])) for key in v["keys"]]
    v.check("file", make_key_file(keys, passphrase, params, v.bytes("salt"), v.bytes("nonce")))
    v.require("file", open_key_file(v.bytes("file"), passphrase) == keys)
    v.require("passphrase", error_of(open_key_file, v.bytes("file"), passphrase + b"\n") is Authentication)


def argon2_params(given):
    return FileKdf(KDF_ARGON2ID, given["m"], given["t"], given["p"])


def vector_salamander(v):
    """One body, valid under two keys for the AEAD; the commitment tells them apart."""
    token, row, context = parse_token(v.bytes("token")), vector_row(v).encode(), field_context(v["column"], v.bytes("extra"))
    v.check("suite", f"{token.suite:02x}")
    v.check("key_id", token.key_id)
    for which in ("1", "2"):
        key, _ = row_key(v.bytes(f"data_key_{which}"), token.head, row)
        v.check(f"bare_aead_plaintext_{which}", decrypt_body(token, key, context))
    opened = (int(v["type"], 16), v.bytes("value_1"))
    v.require("token", open_with_data_key(token, v.bytes("data_key_1"), row, context, opened[0]) == opened)
    v.check("expect_data_key_1", "opens")
    refused = error_of(open_with_data_key, token, v.bytes("data_key_2"), row, context)
    v.check("expect_data_key_2", refused.__name__ if refused else "opens")


SECTIONS = {
    "kdf": vector_kdf,
    "tokens": vector_token,
    "salts": vector_salt,
    "index": vector_index,
    "uid": vector_uid,
    "keys": vector_key,
    "manifests": vector_manifest,
    "subjects": vector_subject,
    "splits": vector_split,
    "kms_contexts": vector_kms_context,
    "local_file": vector_local_file,
    "salamander": vector_salamander,
}


class Tally:
    """Counts what passed and prints what failed."""

    def __init__(self):
        self.passed = 0
        self.failed = 0

    def run(self, title, function, *args, **kwargs):
        """Whether the check passed."""
        try:
            function(*args, **kwargs)
        except Exception as error:      # noqa: BLE001  whatever went wrong belongs to this check
            self.failed += 1
            kind = "" if isinstance(error, (Mismatch, PhieldError)) else f"{type(error).__name__}: "
            print(f"FAIL {title}: {kind}{error}")
            return False
        self.passed += 1
        return True

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed else 0


def command_vectors(args):
    with open(args.file, encoding="utf-8") as file:
        document = json.load(file)
    document.pop("about", None)
    tally = Tally()
    kek_of_wrap = {item["wrapped"]: bytes.fromhex(item["kek"]) for item in document.get("keys", [])}
    for section in SECTIONS:
        extra = (kek_of_wrap,) if section == "manifests" else ()
        run_section(tally, section, document.pop(section, []), extra)
    for section in document:
        tally.run(section, fail, "section not covered by this checker")
    return tally.finish()


def run_section(tally, section, vectors, extra):
    vectors = [vectors] if isinstance(vectors, dict) else vectors
    results = [tally.run(f"{section}: {fields.get('name', '?')}", run_vector, SECTIONS[section], fields, extra)
               for fields in vectors]
    if not vectors:
        tally.run(section, fail, "section missing")
    print(f"{section}: {sum(results)} reproduced")


def run_vector(function, fields, extra):
    vector = Vector(fields)
    function(vector, *extra)
    vector.check_all_seen()


def fail(message):
    raise Mismatch(message)


# ---------------------------------------------------------------------------------------------------------------------
# Commands `open` and `index`
# ---------------------------------------------------------------------------------------------------------------------

def unhex(text):
    return None if text is None else bytes.fromhex(text)


def read_lines(path):
    """(line number, JSON object) of each line."""
    source = contextlib.nullcontext(sys.stdin) if path == "-" else open(path, encoding="utf-8")
    with source as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, json.loads(line)


def check_lines(args, check):
    """`check(ring, case)` on every line; the number of lines, or None at the first difference."""
    ring, count = load_ring(args), 0
    for number, case in read_lines(args.cases):
        try:
            check(ring, case)
        except (Mismatch, PhieldError, KeyError, TypeError, ValueError) as error:
            print(f"line {number}: {error if isinstance(error, (Mismatch, PhieldError)) else repr(error)}", file=sys.stderr)
            return None
        count += 1
    return count


def command_open(args):
    count = check_lines(args, check_token_case)
    if count is None:
        return 1
    print(f"opened {count} tokens")
    return 0


def case_scopes(case):
    return {case["scope"]} if "scope" in case else ANY_SCOPE


def check_token_case(ring, case):
    token, row = bytes.fromhex(case["token"]), RowIdentity(ring.app, case["tenant"], case["table"],
                                                          unhex(case["row_id"]), unhex(case["subject"]))
    declared = int(fixed_hex(case["type"], 1), 16)
    if from_text(case["text"]) != token or to_text(token) != case["text"]:
        raise Mismatch("text form is of another token")
    tag, value = open_token(ring, token, row, case["column"], unhex(case["extra"]), declared, scopes=case_scopes(case))
    if (tag, value) != (declared, bytes.fromhex(case["value"])):
        raise Mismatch(f"opened to type {tag:02x} value {value.hex()}")


def fixed_hex(text, length):
    if len(bytes.fromhex(text)) != length:
        raise Mismatch(f"{text!r} is not {length} bytes in hex")
    return text


def command_index(args):
    count = check_lines(args, check_index_case)
    if count is None:
        return 1
    print(f"checked {count} index values")
    return 0


def check_index_case(ring, case):
    output, values = bytes.fromhex(case["output"]), [bytes.fromhex(value) for value in case["values"]]
    record = ring.record(int.from_bytes(output[:4], "big"))
    if record.use != "index" or ("scope" in case and record.scope != case["scope"]):
        raise Authentication("use or scope of the pepper")
    if record.state == DESTROYED:
        raise KeyState("pepper is destroyed")
    definition = IndexDefinition(ring.app, case["tenant"], case["table"], case["column"], case["index"],
                                 case["normalizer"], case["algorithm"], case["bits"])
    computed = index_value(ring.key(record.key_id), record.key_id, definition, values)
    if computed != output:
        raise Mismatch(f"output: case {output.hex()}, computed {computed.hex()}")


# ---------------------------------------------------------------------------------------------------------------------
# Command `seal`
# ---------------------------------------------------------------------------------------------------------------------

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-"
CHARACTERS = "abcXYZ 0189\n\t\"\\/'\u0000\u007f\u00e9\u00df\u0301\u0416\u05d0\u4e2d\u6587\ufeff\uffff\U0001f9ec\U0010ffff"


class Inventor:
    """Random but valid identities and values, repeatable from the seed."""

    def __init__(self, seed):
        self.rng = random.Random(seed)

    def size(self, most):
        """Mostly small, at times anything up to `most`, often an edge."""
        return self.rng.choice((0, 1, 14, 15, 16, self.rng.randint(0, min(most, 40)), self.rng.randint(0, most), most))

    def name(self, prefix="", most=128):
        room = most - len(prefix)
        length = self.rng.choice((1, self.rng.randint(1, min(12, room)), self.rng.randint(1, min(12, room)), room))
        return prefix + "".join(self.rng.choices(LETTERS, k=length))

    def text(self, most_bytes):
        out = "".join(self.rng.choices(CHARACTERS, k=self.size(most_bytes)))
        while len(out.encode("utf-8")) > most_bytes:
            out = out[:-1]
        return out

    def integer(self):
        return self.rng.choice((0, 1, -1, 42, -2**63, 2**63 - 1, self.rng.randint(-2**63, 2**63 - 1)))

    # Identities

    def simple_row_id(self, kind, most):
        if kind == "i":
            return row_id_int(self.integer())
        if kind == "u":
            return row_id_uuid(uuid.UUID(bytes=self.rng.randbytes(16)))
        if kind == "s":
            return row_id_text(self.text(most))
        return row_id_bytes(self.rng.randbytes(self.size(most)))

    def row_id(self):
        kind = self.rng.choice(("i", "u", "s", "b", "c", None))
        if kind is None:
            return None
        if kind != "c":
            return self.simple_row_id(kind, MAX_ROW_ID)
        parts = self.rng.choice((1, 2, 2, 3, MAX_PARTS))
        return row_id_composite(*(self.simple_row_id(self.rng.choice("iusb"), 200) for _ in range(parts)))

    def row(self, app, prefix):
        tenant = self.rng.choice((None, self.name(), self.name()))
        return RowIdentity(app, tenant, self.name(prefix), self.row_id())

    def extra(self):
        return self.rng.choice((None, None, b"", self.rng.randbytes(4), self.rng.randbytes(self.size(MAX_EXTRA))))

    def fields(self):
        """Up to four fields of one row, all different."""
        tags = [self.rng.randint(NULL, UUID) for _ in range(self.rng.randint(1, 4))]
        fields = {}
        for tag in tags:
            column, extra, value = self.name(), self.extra(), self.value(tag)
            fields[field_context(column, extra)] = Field(column, tag, value, self.padding(tag, value), extra)
        return list(fields.values())

    def padding(self, tag, value):
        frame = len(value) + 2
        choices = ["block:16", f"fixed:{frame + self.rng.choice((0, 1, 30))}", f"padme:{self.rng.choice((2, 64, 256))}"]
        return self.rng.choice(choices + (["none"] if tag != BOOL else []))

    # Values

    def value(self, tag):
        makers = {NULL: bytes, TEXT: lambda: self.text(3000).encode("utf-8"), BYTES: self.blob, BOOL: self.boolean,
                  INTEGER: lambda: struct.pack(">q", self.integer()), DATE: self.date, TIMESTAMP: self.timestamp,
                  DECIMAL: self.decimal, JSON: self.json, FLOAT: self.float, UUID: lambda: self.rng.randbytes(16)}
        return makers[tag]()

    def blob(self):
        data = self.rng.randbytes(self.size(3000))
        return data + self.rng.choice((b"", b"\x80", b"\x80\x00\x00", bytes(5)))      # looks like padding

    def boolean(self):
        return self.rng.choice((b"\x00", b"\x01"))

    def date(self):
        leap = self.rng.choice((4, 400, 1600, 1996, 2000, 2024, 9996))
        day = self.rng.choice((datetime.date(leap, 2, 29), datetime.date.min, datetime.date.max,
                               datetime.date.fromordinal(self.rng.randint(1, datetime.date.max.toordinal()))))
        return f"{day.year:04}-{day.month:02}-{day.day:02}".encode()

    def timestamp(self):
        clock = self.rng.choice((0, 86399, self.rng.randint(0, 86399)))
        digits = "".join(self.rng.choices("0123456789", k=self.rng.choice((0, 2, 5, 8))))
        fraction = self.rng.choice(("", f".{digits}{self.rng.randint(1, 9)}"))
        return self.date() + f"T{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02}{fraction}Z".encode()

    def decimal(self):
        whole = self.rng.choice(("0", "007", str(self.rng.randint(0, 10**6)), str(self.rng.randint(0, 10**40))))
        part = self.rng.choice(("", ".0", ".50", f".{self.rng.randint(0, 10**12):013}"))
        return (self.rng.choice(("", "-")) + whole + part).encode()

    def float(self):
        special = self.rng.choice((0.0, -0.0, math.inf, -math.inf, math.nan, 5e-324, 1.7976931348623157e308))
        return struct.pack(">d", self.rng.choice((special, self.rng.gauss(0, 1), self.rng.gauss(0, 1e12))))

    def json(self):
        document = self.json_value(3)
        layout = self.rng.choice(({"separators": (",", ":")}, {"indent": 2}, {}))
        return json.dumps(document, ensure_ascii=self.rng.random() < 0.5, allow_nan=False, **layout).encode("utf-8")

    def json_value(self, depth):
        leaves = (None, True, False, self.rng.randint(-2**53, 2**53), self.rng.gauss(0, 1000), self.text(60), "")
        if depth == 0 or (depth < 3 and self.rng.random() < 0.4):
            return self.rng.choice(leaves)
        items = [self.json_value(depth - 1) for _ in range(self.rng.randint(0, 4))]
        return items if self.rng.random() < 0.5 else {self.text(20): item for item in items}


def sealed_cases(ring, inventor, scope):
    """Endless cases of one scope; the fields of one row share a salt."""
    prefix = "t_" if scope is None else scope + "_"
    while True:
        row, fields = inventor.row(ring.app, prefix), inventor.fields()
        for item, token in zip(fields, seal_row(ring, scope, row, fields)):
            yield token_case(row, item, token, scope)


def token_case(row, item, token, scope):
    return {"table": row.table, "tenant": row.tenant, "column": item.column, "row_id": optional_hex(row.row_id),
            "subject": None, "extra": optional_hex(item.extra), "type": f"{item.tag:02x}", "value": item.value.hex(),
            "token": token.hex(), "text": to_text(token), "scope": scope}


def optional_hex(data):
    return None if data is None else data.hex()


def command_seal(args):
    ring, inventor = load_ring(args), Inventor(args.seed)
    makers = [sealed_cases(ring, inventor, scope or None) for scope in args.scope]
    for maker in itertools.islice(itertools.cycle(makers), args.count):
        print(json.dumps(next(maker)))
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Command `database`
# ---------------------------------------------------------------------------------------------------------------------

UUID_TEXT = re.compile(r"[0-9A-Fa-f]{8}(-?)[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{4}\1[0-9A-Fa-f]{12}")


def sql_row_id(kind, value):
    """Typed row id of an SQL value."""
    if kind == "int" and isinstance(value, int):
        return row_id_int(value)
    if kind == "text" and isinstance(value, str):
        return row_id_text(value)
    if kind == "bytes" and isinstance(value, bytes):
        return row_id_bytes(value)
    if kind == "uuid" and isinstance(value, bytes) and len(value) == 16:
        return row_id_uuid(uuid.UUID(bytes=value))
    if kind == "uuid" and isinstance(value, str) and UUID_TEXT.fullmatch(value):
        return row_id_uuid(uuid.UUID(value))
    raise Mismatch(f"{value!r} is not a row id of the kind {kind}")


def sql_token(value):
    """Token bytes of a BLOB or of the text form. Nothing in a column means plaintext."""
    if isinstance(value, str):
        return from_text(value)
    if isinstance(value, bytes):
        return value
    raise Malformed(f"{type(value).__name__} in a sealed column")


def decoded(tag, value):
    """A value as JSON can carry it."""
    if tag == NULL:
        return None
    if tag == BYTES:
        return value.hex()
    if tag == INTEGER:
        return struct.unpack(">q", value)[0]
    if tag == BOOL:
        return value == b"\x01"
    if tag == FLOAT:
        number = struct.unpack(">d", value)[0]
        return number if math.isfinite(number) else str(number)
    if tag == UUID:
        return str(uuid.UUID(bytes=value))
    return value.decode("utf-8")


def quoted(identifier):
    return '"' + identifier.replace('"', '""') + '"'


@contextlib.contextmanager
def read_only_database(path):
    """A read-only connection; where the -wal file cannot be used in place, to a copy."""
    if not os.path.isfile(path):
        raise Config(f"{path}: no such database")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            connection = connect_read_only(path)
        except sqlite3.OperationalError:
            connection = connect_read_only(copy_database(path, scratch))
        with contextlib.closing(connection):
            yield connection


def connect_read_only(path):
    quoted_path = os.path.abspath(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    connection = sqlite3.connect(f"file:{quoted_path}?mode=ro", uri=True, timeout=10)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def copy_database(path, scratch):
    copy = os.path.join(scratch, "copy.db")
    for suffix in ("", "-wal"):
        if os.path.exists(path + suffix):
            shutil.copyfile(path + suffix, copy + suffix)
    return copy


def open_database_row(ring, table, row_id, columns, cells):
    """{column: None or {"type", "value"}}"""
    row, out = RowIdentity(ring.app, None, table, row_id), {}
    for column, cell in zip(columns, cells):
        out[column] = None
        if cell is not None:
            try:
                tag, value = open_token(ring, sql_token(cell), row, column, None)
            except PhieldError as error:
                raise Mismatch(f"row {row_id.hex()} column {column}: {error}") from None
            out[column] = {"type": f"{tag:02x}", "value": decoded(tag, value)}
    return {"row_id": row_id.hex(), "columns": out}


def database_rows(args, ring):
    """Every row of the table, opened."""
    id_column, _, kind = args.row_id.rpartition(":")
    columns = args.columns.split(",")
    select = ", ".join(quoted(column) for column in [id_column, *columns])
    with read_only_database(args.db) as connection:
        check_columns_exist(connection, args.sql_table or args.table, [id_column, *columns])
        for sql_id, *cells in connection.execute(f"SELECT {select} FROM {quoted(args.sql_table or args.table)}"):
            yield open_database_row(ring, args.table, sql_row_id(kind, sql_id), columns, cells)


def check_columns_exist(connection, table, columns):
    """SQLite reads an unknown quoted column as a string."""
    known = {row[1] for row in connection.execute(f"PRAGMA table_xinfo({quoted(table)})")}
    if missing := [column for column in columns if column not in known]:
        raise Mismatch(f"table {table} has no column {', '.join(missing)}")


def compare_with_expected(rows, path):
    """The file is a JSON array of rows as `--dump` prints them, in any order; a row may leave out columns."""
    with open(path, encoding="utf-8") as file:
        expected = json.load(file)
    found = {row["row_id"]: row["columns"] for row in rows}
    if len(found) != len(rows) or found.keys() != {row["row_id"] for row in expected}:
        raise Mismatch("the database has other rows than expected")
    for row in expected:
        for column, cell in row["columns"].items():
            if column not in found[row["row_id"]] or found[row["row_id"]][column] != cell:
                raise Mismatch(f"row {row['row_id']} column {column}: expected {cell!r}")


def command_database(args):
    ring, rows = load_ring(args), []
    for row in database_rows(args, ring):
        rows.append(row)
        if args.dump:
            print(json.dumps(row))
    if args.expect:
        compare_with_expected(rows, args.expect)
    cells = [cell for row in rows for cell in row["columns"].values()]
    nulls = sum(cell is None for cell in cells)
    print(f"opened {len(rows)} rows, {len(cells) - nulls} tokens, {nulls} NULLs")
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# Command `selftest`
# ---------------------------------------------------------------------------------------------------------------------

SELFTEST_APP = "selftest"
SELFTEST_RING = "own"
SELFTEST_PASSPHRASE = "correct horse \u00e9 battery"
SELFTEST_COUNT = 500
REFUSALS = (Authentication, Malformed, UnknownKey)


class OwnRing:
    """A ring in a directory: key file, passphrase, manifest, pin."""

    IDS = {"ring": 0x1001, "plain": 0x2002, "x": 0x3003, "index": 0x4004, "dual": 0x5005, "gone": 0x6006}

    def __init__(self, directory):
        self.directory = directory
        self.keks = [FileKey(1, 1_767_225_600, ACTIVE, os.urandom(32)), FileKey(2, 1_767_225_600, ACTIVE, os.urandom(32))]
        self.ring_key = os.urandom(32)
        self.manifest = Manifest(SELFTEST_RING, SELFTEST_APP, 1, tuple(self.records()))
        self.stored = self.sign(self.manifest)
        ring_record = self.manifest.records[0]
        self.pin = f"{ring_record.key_id:08x}:{ring_record.kcv.hex()}"
        self.write_files()

    def records(self):
        yield self.locally("ring", self.ring_key, suite=0, use="ring", scope=None)
        yield self.locally("plain", os.urandom(32), suite=AES_256_GCM, use="data", scope=None)
        yield self.locally("x", os.urandom(32), suite=XCHACHA20_POLY1305, use="data", scope="x")
        yield self.locally("index", os.urandom(32), suite=0, use="index", scope=None)
        yield self.dual("dual", os.urandom(32))
        yield Record(SELFTEST_RING, self.IDS["gone"], AES_256_GCM, "data", None, DESTROYED, kcv=os.urandom(32))

    def locally(self, label, key, **parts):
        record = Record(SELFTEST_RING, self.IDS[label], **parts)
        wrap = derived_wrap(self.keks[0].key, record.encode(), key, os.urandom(32), os.urandom(12))
        return replace(record, kcv=check_value(key, record.encode()), wraps=(("local", "1", wrap),))

    def dual(self, label, key):
        record, share = Record(SELFTEST_RING, self.IDS[label], 0, "uid", None), os.urandom(32)
        wraps = [derived_wrap(kek.key, share_record(record.encode(), i), part, os.urandom(32), os.urandom(12))
                 for i, (kek, part) in enumerate(zip(self.keks, (share, xor(share, key))), start=1)]
        return replace(record, kcv=check_value(key, record.encode()), wraps=(("split", "local|1|local|2", lp(*wraps)),))

    def sign(self, manifest):
        return manifest.encode() + manifest_mac(self.ring_key, manifest.encode())

    def write_files(self):
        passphrase = SELFTEST_PASSPHRASE.encode("utf-8")
        key_file = make_key_file(self.keks, passphrase, FileKdf(KDF_ARGON2ID, 65536, 3, 4), os.urandom(16), os.urandom(12))
        self.write("manifest", self.stored)
        self.write("keys", key_file)
        self.write("passphrase", passphrase + b"\n")

    def path(self, file_name):
        return os.path.join(self.directory, file_name)

    def write(self, file_name, data):
        handle = os.open(self.path(file_name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)

    def arguments(self):
        return ["--app", SELFTEST_APP, "--manifest", self.path("manifest"), "--key-file", self.path("keys"),
                "--passphrase-file", self.path("passphrase"), "--ring-key", self.pin]

    def open(self, stored=None, **changes):
        settings = {"app": SELFTEST_APP, "ring": SELFTEST_RING, "keks": local_keks(self.keks), **changes}
        return open_manifest(self.stored if stored is None else stored, [parse_pin(self.pin)], **settings)


def run_command(*arguments):
    """Standard output of a command that must succeed."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(list(arguments))
    if status != 0:
        raise Mismatch(f"{arguments[0]} ended with {status}")
    return out.getvalue()


def expect_refusal(classes, function, *args, **kwargs):
    found = error_of(function, *args, **kwargs)
    if found is None or not issubclass(found, classes):
        raise Mismatch(f"ended with {found.__name__ if found else 'success'}")


def flip_bit(data, bit):
    out = bytearray(data)
    out[bit // 8] ^= 1 << bit % 8
    return bytes(out)


def flipped_case(case, rng):
    token = bytes.fromhex(case["token"])
    token = flip_bit(token, rng.randrange(8 * len(token)))
    return {**case, "token": token.hex(), "text": to_text(token)}


def moved_case(case):
    """The same token somewhere else, one way of several."""
    moves = ({"table": "elsewhere"}, {"tenant": "elsewhere"}, {"tenant": None if case["tenant"] else "some"},
             {"column": "elsewhere"}, {"row_id": row_id_int(77).hex()}, {"extra": b"elsewhere".hex()},
             {"subject": row_id_int(1).hex()}, {"type": "02" if case["type"] != "02" else "01"})
    return {**case, **moves[int(case["token"][-2:], 16) % len(moves)]}


def test_tokens(tally, own):
    """Seal, open, corrupt, move."""
    lines = run_command("seal", *own.arguments(), "--count", str(SELFTEST_COUNT), "--seed", "7", "--scope", "", "--scope", "x")
    own.write("cases", lines.encode())
    ring, rng, cases = own.open(), random.Random(7), [json.loads(line) for line in lines.splitlines()]
    tally.run("seal: number of cases", expect_equal, len(cases), SELFTEST_COUNT)
    tally.run("seal: all types", expect_equal, {case["type"] for case in cases}, {f"{tag:02x}" for tag in range(11)})
    tally.run("seal: rows share salts", expect_equal, len({case["token"][10:34] for case in cases}) < len(cases), True)
    tally.run("open: command", lambda: expect_equal(run_command("open", *own.arguments(), own.path("cases")),
                                                    f"opened {SELFTEST_COUNT} tokens\n"))
    for number, case in enumerate(cases, start=1):
        tally.run(f"open: line {number}", check_token_case, ring, case)
        tally.run(f"flip: line {number}", expect_refusal, REFUSALS, check_token_case, ring, flipped_case(case, rng))
        tally.run(f"move: line {number}", expect_refusal, Authentication, check_token_case, ring, moved_case(case))
    tally.run("scope", expect_refusal, Authentication, check_token_case, ring, {**cases[0], "scope": "x"})


def expect_equal(found, expected):
    if found != expected:
        raise Mismatch(f"found {found!r}, expected {expected!r}")


def test_key_choice(tally, own):
    """Key ids of other records, in a token that is well formed."""
    ring, row = own.open(), RowIdentity(SELFTEST_APP, None, "t_a", row_id_int(1))
    token, = seal_row(ring, None, row, [Field("c", TEXT, b"value")])
    for label, refusal in (("ring", Authentication), ("index", Authentication), ("x", Authentication), ("gone", KeyState)):
        swapped = token[:1] + u32(OwnRing.IDS[label]) + token[5:]
        tally.run(f"key id of {label}", expect_refusal, refusal, open_token, ring, swapped, row, "c", None)
    tally.run("key id 0", expect_refusal, Malformed, open_token, ring, token[:1] + bytes(4) + token[5:], row, "c", None)
    tally.run("short token", expect_refusal, Malformed, open_token, ring, token[:62], row, "c", None)
    twice = [Field("c", TEXT, b"1"), Field("c", TEXT, b"2")]
    tally.run("field twice", expect_refusal, Unsealable, seal_row, ring, None, row, twice)


def test_decoders(tally):
    """Strict decoders and value rules."""
    text = to_text(bytes(64))
    for bad in (text + "=", text + " ", text + "\n", "phi2." + text[5:], text[5:], text[:-1] + "B", text[:-1], text[:-2] + "+A",
                "PHI1." + text[5:], text[:-1] + "\u0410"):
        tally.run(f"text form {bad!r}", expect_refusal, Malformed, from_text, bad)
    good_list = lp(b"a", b"")
    for bad in (good_list + b"\0", good_list[:-1], b"", u32(3) + good_list[4:], u32(1) + u32(0xffffffff)):
        tally.run(f"list {bad.hex()}", expect_refusal, Malformed, lp_decode, bad)
    tally.run("list count", expect_refusal, Malformed, lp_decode, good_list, 1)
    tally.run("optional", expect_refusal, Malformed, opt_decode, b"\x02a")
    for bad in ("", "a" * 129, "a b", "a+b", "\u00e9", "a\n", None):
        tally.run(f"name {bad!r}", expect_refusal, Config, name, bad)
    test_row_ids(tally)
    test_values(tally)
    test_frames(tally)


def test_row_ids(tally):
    nested = b"c" + lp(b"c" + lp(row_id_int(1)))
    for bad in (b"", b"i" + bytes(7), b"u" + bytes(17), b"s\xff", b"s" + bytes(1025), b"b" + bytes(1025), b"z", nested, b"c" + lp(),
                b"c" + lp(*[row_id_int(1)] * 17), b"c" + lp(row_id_int(1)) + b"\0", b"c" + lp(*[b"b" + bytes(1020)] * 5)):
        tally.run(f"row id {bad[:20].hex()}", expect_refusal, Unsealable, check_row_id, bad)
    for number in (2**63, -2**63 - 1):
        tally.run(f"row id {number}", expect_refusal, Unsealable, row_id_int, number)


GOOD_VALUES = (
    (DATE, "2024-02-29"), (DATE, "0001-01-01"), (TIMESTAMP, "9999-12-31T23:59:59.000000001Z"), (TIMESTAMP, "2000-02-29T00:00:00Z"),
    (DECIMAL, "-007.50"), (DECIMAL, "0"), (JSON, ' {"a":[1,-0.5e+3,{}],"":null} '), (JSON, '"\\ud83d\\u0000"'), (JSON, "0"),
    (JSON, "[" * 100_000 + "]" * 100_000), (JSON, "[]"), (TEXT, "\ufeff\0"),
)
BAD_VALUES = (
    (NULL, "x"), (INTEGER, "1234567"), (BOOL, ""), (BOOL, "\2"), (DATE, "2023-02-29"), (DATE, "0000-01-01"), (DATE, "1900-02-29"),
    (DATE, "2024-2-29"), (DATE, "2024-02-29\n"), (DATE, "\u0662024-02-2"), (TIMESTAMP, "2024-01-01T24:00:00Z"),
    (TIMESTAMP, "2024-01-01T00:60:00Z"), (TIMESTAMP, "2024-01-01T00:00:60Z"), (TIMESTAMP, "2024-01-01T00:00:00.10Z"),
    (TIMESTAMP, "2024-01-01T00:00:00.Z"), (TIMESTAMP, "2024-01-01T00:00:00+00:00"), (TIMESTAMP, "2024-01-01 00:00:00Z"),
    (TIMESTAMP, "2024-01-01T00:00:00z"), (DECIMAL, ""), (DECIMAL, "+1"), (DECIMAL, "1."), (DECIMAL, ".5"), (DECIMAL, "1e5"),
    (DECIMAL, "1\n"), (JSON, ""), (JSON, "\ufeff{}"), (JSON, "NaN"), (JSON, "[1,]"), (JSON, '{"a":1,}'), (JSON, "01"), (JSON, "1."),
    (JSON, "'a'"), (JSON, '"\t"'), (JSON, '"\\x"'), (JSON, '"a'), (JSON, "{}{}"), (JSON, "[}"), (JSON, "[1 2]"), (JSON, "{1:2}"),
    (JSON, '{"a"}'), (JSON, "truefalse"), (JSON, "-"), (JSON, "[\u00a0]"), (JSON, "]"), (JSON, ","), (FLOAT, "1234567"),
    (UUID, "123456789012345"), (11, ""), (255, ""),
)


def test_values(tally):
    for tag, value in GOOD_VALUES:
        tally.run(f"value {tag} {value[:20]!r}", expect_equal, is_well_formed(tag, value.encode()), True)
    for tag, value in BAD_VALUES:
        tally.run(f"value {tag} {value[:20]!r}", expect_equal, is_well_formed(tag, value.encode()), False)
    for tag in (TEXT, JSON):
        tally.run("lone surrogate in UTF-8", expect_equal, is_well_formed(tag, b'"\xed\xa0\x80"'), False)


def test_frames(tally):
    for bad in (b"", b"\0\0", b"\x80", b"\x80\0", b"\x01a\0", b"\x01a"):
        tally.run(f"frame {bad.hex()}", expect_refusal, Authentication, open_frame, bad)
    tally.run("null where not nullable", expect_refusal, Authentication, open_frame, b"\0\x80", TEXT)
    tally.run("null where nullable", expect_equal, open_frame(b"\0\x80", TEXT, nullable=True), (NULL, b""))
    tally.run("fixed too short", expect_refusal, Unsealable, make_frame, TEXT, b"abc", "fixed:4")
    tally.run("bool without padding", expect_refusal, Unsealable, make_frame, BOOL, b"\1", "none")
    tally.run("unknown padding", expect_refusal, Config, make_frame, TEXT, b"", "fixed:1")
    for length, padded in ((3, 3), (9, 10), (65, 72), (514, 544), (1024, 1024), (1025, 1088)):
        tally.run(f"padme {length}", expect_equal, padded_length(length, "padme:2"), padded)


def test_primitives(tally):
    """The example of draft-irtf-cfrg-xchacha-03 section 2.2.1."""
    subkey = hchacha20(bytes(range(32)), bytes.fromhex("000000090000004a0000000031415927"))
    tally.run("HChaCha20", expect_equal, subkey.hex(), "82413b4227b27bfed30e42508a877d73a0f9e4d58a74a853c12ec41326d3ecdc")


def test_manifest(tally, own):
    """Corrupted and forged manifests."""
    rng = random.Random(8)
    for number in range(200):
        broken = flip_bit(own.stored, rng.randrange(8 * len(own.stored)))
        tally.run(f"manifest flip {number}", expect_refusal, (Authentication, Malformed, Config), own.open, broken)
    tally.run("other app", expect_refusal, Authentication, own.open, app="other")
    tally.run("other ring", expect_refusal, Authentication, own.open, ring="other")
    tally.run("KEK not listed", expect_refusal, Config, own.open, keks={})
    for title, refusal, records in forged_records(own.manifest.records):
        forged = own.sign(replace(own.manifest, records=tuple(records)))
        tally.run(f"manifest: {title}", expect_refusal, refusal, own.open, forged)
    for bad in (own.pin.upper(), own.pin[1:], own.pin + "\n", "1:" + own.pin[9:]):
        tally.run(f"pin {bad[:12]!r}", expect_refusal, Config, parse_pin, bad)


def forged_records(records):
    """Manifests under a right MAC that the page refuses."""
    ring, plain, x, index, dual, gone = records
    rest = (ring, x, index, dual)
    yield "state 5", Malformed, (*rest, replace(plain, state=5))
    yield "destroyed with wraps", Malformed, (*rest, replace(plain, state=DESTROYED))
    yield "active without wraps", Malformed, (*rest, replace(plain, wraps=()))
    yield "unknown use", Malformed, (*rest, replace(plain, use="audit"))
    yield "suite of an index", Malformed, (ring, replace(index, suite=AES_256_GCM))
    yield "data key without suite", Malformed, (*rest, replace(plain, suite=0))
    yield "two active", Malformed, (*records, replace(plain, key_id=9))
    yield "id twice", Malformed, (*records, plain)
    yield "wrap twice", Malformed, (*rest, replace(plain, wraps=plain.wraps * 2))
    yield "another ring", Authentication, (*rest, replace(plain, ring="other"))
    yield "another KCV", Authentication, (*rest, replace(plain, kcv=x.kcv))
    yield "wrap of another record", Authentication, (*rest, replace(plain, wraps=x.wraps))
    yield "dual and local", Malformed, (*rest[:3], replace(dual, wraps=dual.wraps + plain.wraps))
    yield "split with itself", Malformed, (ring, replace(dual, wraps=(("split", "local|1|local|1", dual.wraps[0][2]),)))
    yield "no ring key", Authentication, (plain, gone)
    yield "compromised ring key", KeyState, (replace(ring, state=COMPROMISED), plain)


def test_key_file(tally, own):
    data = read_private_file(own.path("keys"))
    passphrase = SELFTEST_PASSPHRASE.encode("utf-8")
    tally.run("key file opens", lambda: expect_equal(open_key_file(data, passphrase), own.keks))
    tally.run("wrong passphrase", expect_refusal, Authentication, open_key_file, data, passphrase + b"\n")
    for offset in (0, 4, 5, 59, 62):
        tally.run(f"key file byte {offset}", expect_refusal, Malformed, open_key_file, flip_bit(data, 8 * offset + 7), passphrase)
    for offset in (6, 7, 10, 14):
        tally.run(f"key file byte {offset}", expect_refusal, Config, open_key_file, flip_bit(data, 8 * offset + 6), passphrase)
    for offset in (16, 31, 48, 64, len(data) - 1):
        tally.run(f"key file byte {offset}", expect_refusal, Authentication, open_key_file, flip_bit(data, 8 * offset), passphrase)
    tally.run("key file too long", expect_refusal, Malformed, open_key_file, data + b"\0", passphrase)
    os.symlink(own.path("keys"), own.path("link"))
    tally.run("key file symlink", expect_refusal, Config, read_private_file, own.path("link"))
    os.chmod(own.path("keys"), 0o640)
    tally.run("key file open to the group", expect_refusal, Config, read_private_file, own.path("keys"))
    os.chmod(own.path("keys"), 0o600)


def test_index(tally, own):
    ring = own.open()
    case = {"table": "t_a", "tenant": None, "column": "a+b", "index": "i", "normalizer": "exact.v1+exact.v1",
            "algorithm": "hmac-sha256", "bits": 31, "values": ["61", ""], "scope": None}
    definition = IndexDefinition(SELFTEST_APP, None, *(case[k] for k in ("table", "column", "index", "normalizer", "algorithm", "bits")))
    output = index_value(ring.key(OwnRing.IDS["index"]), OwnRing.IDS["index"], definition, [b"a", b""])
    tally.run("index bits", expect_equal, (len(output), output[-1] & 1), (8, 0))
    own.write("index", json.dumps({**case, "output": output.hex()}).encode() + b"\n")
    tally.run("index: command", lambda: expect_equal(run_command("index", *own.arguments(), own.path("index")),
                                                     "checked 1 index values\n"))
    for change in ({"values": ["61"]}, {"algorithm": "argon2id-m65536-t2-p1", "values": ["61", ""]}, {"bits": 257}):
        tally.run(f"index {change}", expect_refusal, Config, check_index_case, ring, {**case, **change, "output": output.hex()})


def make_database(own, connection):
    """Two rows; the second has a NULL and the text form."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE patients (id, ssn, born)")
    ring, expected = own.open(), []
    for sql_id, form in ((uuid.uuid4(), bytes), (uuid.uuid4(), to_text)):
        row = RowIdentity(SELFTEST_APP, None, "t_patients", row_id_uuid(sql_id))
        ssn, born = seal_row(ring, None, row, [Field("ssn", TEXT, "\u00e9".encode()), Field("born", DATE, b"2000-02-29")])
        born_cell = form(born) if form is bytes else None
        connection.execute("INSERT INTO patients VALUES (?, ?, ?)", (sql_id.bytes if form is bytes else str(sql_id), form(ssn), born_cell))
        expected.append({"row_id": row.row_id.hex(), "columns": {"ssn": {"type": "01", "value": "\u00e9"}, "born": None}})
    expected[0]["columns"]["born"] = {"type": "05", "value": "2000-02-29"}
    connection.commit()
    return expected


def test_database(tally, own):
    """While the writer is open, and after it left a -wal file behind."""
    def check(directory):
        return run_command("database", *own.arguments(), "--db", os.path.join(directory, "app.db"), "--table", "t_patients",
                           "--sql-table", "patients", "--row-id", "id:uuid", "--columns", "ssn,born", "--expect", own.path("expect"))
    left = own.path("left")
    os.mkdir(left)
    with contextlib.closing(sqlite3.connect(own.path("app.db"))) as connection:
        own.write("expect", json.dumps(make_database(own, connection)).encode())
        tally.run("database with a writer", lambda: expect_equal(check(own.directory), "opened 2 rows, 3 tokens, 1 NULLs\n"))
        for suffix in ("", "-wal"):
            shutil.copyfile(own.path("app.db" + suffix), os.path.join(left, "app.db" + suffix))
    tally.run("database with a -wal left", lambda: expect_equal(check(left), "opened 2 rows, 3 tokens, 1 NULLs\n"))
    with contextlib.closing(sqlite3.connect(own.path("app.db"))) as connection:
        connection.execute("UPDATE patients SET ssn = (SELECT ssn FROM patients WHERE born IS NULL)")
        connection.commit()
    with contextlib.redirect_stderr(io.StringIO()):
        tally.run("database with a moved token", lambda: expect_equal(error_text(check, own.directory), "database ended with 1"))


def error_text(function, *args):
    try:
        function(*args)
    except Mismatch as error:
        return str(error)
    return None


def command_selftest(_args):
    tally = Tally()
    test_primitives(tally)
    test_decoders(tally)
    with tempfile.TemporaryDirectory() as directory:
        own = OwnRing(directory)
        test_tokens(tally, own)
        test_key_choice(tally, own)
        test_manifest(tally, own)
        test_key_file(tally, own)
        test_index(tally, own)
        test_database(tally, own)
    return tally.finish()


# ---------------------------------------------------------------------------------------------------------------------
# Command line
# ---------------------------------------------------------------------------------------------------------------------

def ring_arguments():
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--app", help="app of the configuration; must equal the manifest's (default: taken from it)")
    parser.add_argument("--ring", help="ring of the configuration; must equal the manifest's (default: taken from it)")
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--key-file", required=True)
    parser.add_argument("--passphrase-file", required=True)
    parser.add_argument("--ring-key", required=True, action="append", metavar="PIN", help="repeatable, tried in order")
    return parser


def make_parser():
    parser = argparse.ArgumentParser(description="Independent checker of the phield v1 format")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(title, function, help_text, **options):
        command = commands.add_parser(title, help=help_text, **options)
        command.set_defaults(function=function)
        return command

    add("vectors", command_vectors, "reproduce the reference vectors").add_argument("file")
    add("selftest", command_selftest, "seal, open and corrupt in a ring of its own")
    shared = {"parents": [ring_arguments()]}
    for title, function, help_text in (("open", command_open, "open tokens"), ("index", command_index, "check index values")):
        add(title, function, help_text, **shared).add_argument("cases", nargs="?", default="-", help="JSON lines; - is stdin")
    add_seal_arguments(add("seal", command_seal, "seal tokens", **shared))
    add_database_arguments(add("database", command_database, "open the tokens of an SQLite table", **shared))
    return parser


def add_seal_arguments(command):
    command.add_argument("--count", type=int, required=True)
    command.add_argument("--seed", type=int, required=True)
    command.add_argument("--scope", action="append", required=True, help="repeatable; empty: the key without scope")


def add_database_arguments(command):
    command.add_argument("--db", required=True)
    command.add_argument("--table", required=True, help="logical table name")
    command.add_argument("--sql-table", help="SQL table name, if another")
    command.add_argument("--row-id", required=True, metavar="COLUMN:KIND", type=row_id_argument, help="KIND: uuid, int, text or bytes")
    command.add_argument("--columns", required=True, help="sealed columns, separated by commas")
    command.add_argument("--expect", help="JSON array of rows as --dump prints them")
    command.add_argument("--dump", action="store_true", help="print each row as one JSON line")


def row_id_argument(text):
    column, _, kind = text.rpartition(":")
    if not column or kind not in ("uuid", "int", "text", "bytes"):
        raise argparse.ArgumentTypeError("must be COLUMN:uuid, :int, :text or :bytes")
    return text


def main(arguments=None):
    args = make_parser().parse_args(arguments)
    try:
        return args.function(args)
    except (PhieldError, Mismatch, OSError, sqlite3.Error) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
