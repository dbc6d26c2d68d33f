"""A secret planted anywhere in any log never comes out: any kind, any place, any pieces, any form."""

from __future__ import annotations

import base64
import string

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_commander.diagnostics.known import Known
from edge_commander.diagnostics.scrub import Scrubber

WORDS = st.text(string.ascii_letters + string.digits + " .:=/-_\"'{}[],", max_size=80)
VALUES = st.text(string.ascii_letters + string.digits + "-_.+/=", min_size=12, max_size=120)
LOGS = st.lists(WORDS, max_size=8)


def out(text: bytes, known: list[bytes], cuts: list[int]) -> bytes:
    scrubber = Scrubber(Known(known))
    places = sorted({cut % (len(text) + 1) for cut in cuts})
    pieces = [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
    return b"".join(scrubber.feed(piece) for piece in pieces) + scrubber.finish()


def plant(before: list[str], after: list[str], head: str, body: bytes, tail: str) -> bytes:
    lines = "\n".join([*before, head]).encode(), "\n".join([tail, *after]).encode()
    return lines[0] + body + lines[1]


CUTS = st.lists(st.integers(0, 10_000), max_size=6)


@settings(max_examples=150, deadline=None)
@given(LOGS, LOGS, WORDS, WORDS, VALUES, CUTS, st.integers(0, 5), st.binary(max_size=2), st.binary(max_size=2))
def test_a_value_that_the_node_holds(before, after, head, tail, value, cuts, form, left, right):  # type: ignore[no-untyped-def]
    secret = value.encode()
    forms = [
        secret, secret.hex().encode(), base64.b64encode(left + secret + right),
        base64.urlsafe_b64encode(left + secret + right), base64.b64encode(secret), secret.hex().upper().encode(),
    ]  # fmt: skip
    found = out(plant(before, after, head, forms[form], tail), [secret], cuts)
    assert secret not in found
    inner = forms[form][4:-4]
    assert inner not in found or len(inner) < 12


KEY = base64.encodebytes(bytes(range(1, 122))).decode()
PEM = f"-----BEGIN PRIVATE KEY-----\n{KEY}-----END PRIVATE KEY-----"
BODY = [line for line in KEY.splitlines() if len(line) > 8]


@settings(max_examples=100, deadline=None)
@given(LOGS, LOGS, WORDS, WORDS, CUTS, st.integers(0, 3), st.text(string.ascii_lowercase + " []:", max_size=20))
def test_a_private_key_that_nobody_knew(before, after, head, tail, cuts, form, prefix):  # type: ignore[no-untyped-def]
    texts = [
        PEM,
        PEM.replace("\n", "\\n"),
        "\n".join(prefix + line for line in PEM.splitlines()),
        base64.b64encode(PEM.encode()).decode(),
    ]
    found = out(plant(before, after, head, texts[form].encode(), tail), [], cuts)
    for line in BODY:
        assert line.encode() not in found
    assert base64.b64encode(PEM.encode())[20:80] not in found


NAMES = st.sampled_from(
    ["password", "TOKEN", "client_secret", "K3S_TOKEN", "api-key", "db.passwd", "accessKey", "DB_PASS", "mysql_pwd",
     "client-key-data", "certificate-key"]
)  # fmt: skip
TEMPLATES = st.sampled_from(
    [
        "{n}={v}",
        '{{"{n}": "{v}"}}',
        "{n}: {v}",
        "{n}: '{v}'",
        "--{n}={v}",
        "--{n} {v}",
        '\\"{n}\\":\\"{v}\\"',
        "{n}:\n  {v}",
        "{n}: !!str {v}",
        "{n}: !!str\n  {v}",
        "{n}: | # comment\n  {v}",
        "{n}: &a >-\n  {v}",
        "{n}:  # comment\n  {v}",
        "? {n}\n: {v}",
        "{n} = {v}",
        "{n} := {v}",
        "-{n} {v}",
        '{{"name":"{n}","value":"{v}"}}',
        '{{\\"name\\":\\"{n}\\",\\"value\\":\\"{v}\\"}}',
        "- name: {n}\n  value: {v}",
        "<{n}>{v}</{n}>",
        "%22{n}%22%3A%22{v}%22",
        "&quot;{n}&quot;:&quot;{v}&quot;",
        '{{"a":"{{\\"b\\":\\"{{\\\\\\"{n}\\\\\\":\\\\\\"{v}\\\\\\"}}\\"}}"}}',
    ]
)
PLAIN = st.text(string.ascii_letters + string.digits, min_size=6, max_size=30)


@settings(max_examples=150, deadline=None)
@given(LOGS, LOGS, NAMES, TEMPLATES, PLAIN, CUTS)
def test_a_value_under_a_telling_name(before, after, name, template, value, cuts):  # type: ignore[no-untyped-def]
    value = "Q7z" + value
    body = template.format(n=name, v=value).encode()
    found = out("\n".join([*before, ""]).encode() + body + "\n".join(["", *after]).encode(), [], cuts)
    assert value.encode() not in found


FRAMES = st.sampled_from(
    [
        "the password is {v}", "password was {v}", "the new passphrase of it is: {v}", "password set to {v}",
        "Password for root: {v}", "the token is {v}", "the api key for it is '{v}'", "using certificate key {v}",
        "mysql -u root -p{v} db", "sshpass -p {v} ssh x", "docker login -u bob -p {v}", "tool -p {v}",
        "curl -u bob:{v} https://x", "--creds bob:{v}", "https://bob:{v}@x.example/", "bob:{v}@x.example",
        "Authorization: {v}", "Authorization Basic {v}", "Cookie: a=b; c={v}", "Set-Cookie: c={v}; Path=/",
        "K10" + "ab" * 16 + "::server:{v}", "login bob password {v}", "IDENTIFIED BY '{v}'", "--from-literal=a={v}",
        "Using certificate key:\n{v}", "['mysql', '-p', '{v}']", "X-Amz-Signature={v}",
    ]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(LOGS, LOGS, FRAMES, PLAIN, CUTS)
def test_a_value_in_words_and_on_command_lines(before, after, frame, value, cuts):  # type: ignore[no-untyped-def]
    value = "Q7z" + value
    body = frame.format(v=value).encode()
    found = out("\n".join([*before, ""]).encode() + body + "\n".join(["", *after]).encode(), [], cuts)
    assert value.encode() not in found


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=12), CUTS)
def test_pieces_make_no_difference_and_any_bytes_are_taken(lines, cuts):  # type: ignore[no-untyped-def]
    text = b"\n".join(lines)
    assert out(text, [b"a known value"], cuts) == out(text, [b"a known value"], [])
