"""What in one line of a log is a secret by its form. Pure.

A net for what nobody could list beforehand: values that this node is known to hold are taken out by `known`. A rule
rather takes too much: a lost word in a log is asked for again, a key that left is gone.
"""

from __future__ import annotations

import re

GONE = b"[scrubbed]"

PEM_BEGIN = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
PEM_END = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----")
PEM_LINES = 400
"""A key of more lines there is none: so many are dropped where the end of one never comes."""
CRI_PART = re.compile(rb"^\S+ (?:stdout|stderr) P ")
"""A container's line that goes on in the next one (kubelet's log format): a secret could lie across both."""
BLOB_LINE = re.compile(rb"^[\s\"'|>]*([A-Za-z0-9+/_=-]+)[\s\"',\\]*$")
"""A line of nothing but base64: after a long one it is the rest of it."""

_NAME = (  # what stands before it in the name does not matter, and looking for it would be slow on hostile lines
    rb"(?:token|passw(?:or)?d|passphrase|secret|credential|authorization|assertion|cookie"
    rb"|private[_.-]?key|api[_.-]?key|access[_.-]?key|client[_.-]key[_.-]data|certificate[_.-]key|enrol[_.-]?code"
    rb"|encryption[_.-]?key|psk)[A-Za-z0-9_.-]{0,64}"
)
_FILES = rb"(?<!file)(?<!path)(?<!dir)(?<!files)(?<!name)(?<!names)"
"""Names of places are no secrets: `token_file: /etc/...`."""
BLOCK = re.compile(
    rb"(?i)^(?P<indent>[\s-]*)[\"']?(?:data|stringData|binaryData|[A-Za-z0-9_.-]{0,64}"
    + _NAME
    + _FILES
    + rb")[\"']?\s*:\s*"
    rb"(?:[|>][-+0-9]*|\{|\[)?\s*$"
)
"""A field whose value stands on the lines below, deeper: a Secret's data, a block of text under a telling name."""
BLOCK_ENDS = frozenset(bytes([one]) for one in b":{[|>+-0123456789")
"""How a line that opens one may end: a quick look before the pattern."""
_JOURNAL = rb"\S+ \S+ [^\s:]{1,128}(?:\[\d+\])?: "
JOURNAL = re.compile(rb"^" + _JOURNAL)
"""What journalctl puts before each line; the indentation that matters comes after it."""

_TELLING = (
    b"token",
    b"passw",
    b"passphrase",
    b"secret",
    b"credential",
    b"authorization",
    b"assertion",
    b"cookie",
    b"key",
    b"code",
    b"psk",
)
_JOIN_TOKEN = re.compile(rb"\.(?<=[a-z0-9]{6}\.)[a-z0-9]{16}(?![a-z0-9])")
"""kubeadm's; the part before the dot is public."""
_DATA = (b"data",)
_VALUE = (  # in quotes, in escaped quotes, or bare
    rb"b?(?:\\+\"(?:[^\\\"]|\\+[^\\\"])*\\+\"|\"(?:[^\"\\]|\\.)*(?:\"|$)|'(?:[^'\\]|\\.)*(?:'|$)|[^\s\"',}{\[\]]+)"
)
_SUBSTITUTIONS: tuple[tuple[tuple[bytes, ...], re.Pattern[bytes], bytes], ...] = (
    ((b"private key",),
     re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----|$)"),
     GONE),
    # A Secret's data where object and value stand on one line; everything after it goes.
    (_DATA, re.compile(rb"(?i)(\b(?:data|stringData|binaryData)\\*[\"']?\s*[:=]\s*\\*[\"']?"
                       rb"(?:map\[[^\]]{0,64}\][^{]{0,64})?\{).+$"), rb"\1" + GONE),
    ((b"authorization", b"cookie", b"x-csrf", b"private-token"),
     re.compile(rb"(?i)((?:proxy-)?authorization|(?:set-)?cookie|x-csrf-token|private-token)(\\*[\"']?\s*[:=,]\s*).+$"),
     rb"\1\2" + GONE),
    ((b"bearer", b"basic", b"negotiate"),
     re.compile(rb"(?i)\b(bearer|basic|negotiate)\s+[A-Za-z0-9._~+/=-]{6,}"), rb"\1 " + GONE),
    ((b"eyj",), re.compile(rb"eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){1,4}"), GONE),
    ((b"k10",), re.compile(rb"K10[0-9a-f]{16,}::\S+"), GONE),
    ((b"age-secret-key",), re.compile(rb"(?i)AGE-SECRET-KEY-1[A-Z0-9]+"), GONE),
    # A password in an address may hold anything, also what an address may not.
    ((b"@",), re.compile(rb"(?<![A-Za-z0-9+.-])([A-Za-z][A-Za-z0-9+.-]{0,20}://)[^\s\"'<>]{0,2048}@"),
     rb"\1" + GONE + b"@"),
    # "name": "value", also escaped; 'name': b'value'; 'name' => 'value'; "--name","value".
    (_TELLING, re.compile(rb"(?i)(" + _NAME + _FILES + rb"\\*[\"']\s*(?:[:,]|=>?)\s*)" + _VALUE), rb"\1" + GONE),
    # A JWK's private parts.
    ((b'":', b'" :', b'\\":'), re.compile(rb"(\"(?:d|p|q|dp|dq|qi|k)\\*\"\s*:\s*)\\*\"[A-Za-z0-9_-]{8,}\\*\"?"),
     rb"\1" + GONE),
    # --token VALUE, --password=VALUE.
    ((b"--",), re.compile(rb"(?i)((?<!-)--[A-Za-z0-9_.-]{0,64}?" + _NAME + _FILES + rb")([=\s]\s*)"
                          rb"(?:\"[^\"]*(?:\"|$)|'[^']*(?:'|$)|[^\s\"']+)"), rb"\1\2" + GONE),
    # NAME=value as a whole line: to its end, a password may hold spaces.
    (_TELLING, re.compile(rb"(?i)^((?:" + _JOURNAL + rb")?\s*(?:export\s+|Environment=\"?)?[A-Za-z0-9_.-]{0,64}?"
                          + _NAME + _FILES + rb"\s*=).+$"),
     rb"\1" + GONE),
    (_TELLING, re.compile(rb"(?i)((?:" + _NAME + _FILES + rb"|\bcode)=)"
                          rb"(?:\"(?:[^\"\\]|\\.)*(?:\"|$)|'[^']*(?:'|$)|[^\s\"'&]+)"), rb"\1" + GONE),
    # name: value, as YAML and people write it: to the end.
    (_TELLING, re.compile(rb"(?i)(" + _NAME + _FILES + rb"\s*:\s*)(?![\s\[])[^\s].*$"), rb"\1" + GONE),
)  # fmt: skip
"""Words of which a line must hold one, in lower case, for the pattern to be tried at all; pattern; what is put."""

_ANY = re.compile(b"|".join(re.escape(word) for word in sorted({w for words, _, _ in _SUBSTITUTIONS for w in words})))
LEAST_BLOB = 40
_BLOB = re.compile(rb"[A-Za-z0-9+/_=-]{40,}")
_LOWER, _UPPER, _DIGIT = re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"[0-9]")


def scrub_line(line: bytes) -> bytes:
    """The line, without its end, less what is a secret by its form. Never longer than a few times what it was."""
    lower = line.lower()
    if _ANY.search(lower) is not None:
        for words, pattern, put in _SUBSTITUTIONS:
            if any([word in lower for word in words]):  # noqa: C419 - faster for so few
                line = pattern.sub(put, line)
    if b"." in line:
        line = _JOIN_TOKEN.sub(b"." + GONE, line)
    if len(line) < LEAST_BLOB:
        return line
    return _BLOB.sub(_unless_plain, line)


def is_blob(text: bytes) -> bool:
    """Long base64: a key, a certificate, a token. Digests in hex, paths and names in one case are none."""
    return len(text) >= LEAST_BLOB and all(one.search(text) for one in (_LOWER, _UPPER, _DIGIT))


def _unless_plain(match: re.Match[bytes]) -> bytes:
    return GONE if is_blob(match[0]) else match[0]
