"""Nothing secret passes the log: the scrubber's net, and the form of a line."""

from __future__ import annotations

import base64
import io
import json
import logging
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.io import logs
from agents.io.scrub import GONE, MAX_TEXT, scrub, scrub_text

PART = base64.urlsafe_b64encode(b"hunter2 hunter2 hunter2").decode().rstrip("=")
JWT = f"eyJhbGciOiJFUzI1NiJ9.eyJ{PART}.{PART}"
PEM = "-----BEGIN EC PRIVATE KEY-----\nhunter2hunter2\nhunter2==\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        JWT,
        f"token {JWT} was refused",
        f"eyJhbGciOiJFUzI1NiJ9..{PART}",
        "Authorization: Bearer hunter2",
        "authorization: Basic aHVudGVyMg hunter2",
        "{'Authorization': 'Bearer hunter2'}",
        "{\"authorization\":\"token hunter2\"}",
        "('Authorization', 'hunter2')",
        "Proxy-Authorization: Basic hunter2",
        "Cookie: session=hunter2; other=hunter2",
        "Set-Cookie: session=hunter2",
        "sent Bearer hunter2hunter2",
        PEM,
        PEM.replace("\n", "\\n"),
        PEM[:60],
        PEM.replace("EC ", ""),
        "https://user:hunter2@git.example/x.git",
        "https://hunter2@git.example/x.git failed",
        "fatal: unable to access 'https://user:hunt@hunter2@git.example/x/'",
        "mqtts://user:hunter2@broker",
        "POST /v1/token?client_assertion=hunter2&scope=x",
        "grant_type=client_credentials&client_assertion=hunter2",
        "/login?code=hunter2",
        '{"access_token": "hunter2", "expires_in": 600}',
        '{"access_token":"hun\\"ter hunter2"}',
        '{"password":"hunter2"}',
        "{\\\"password\\\":\\\"hunter2\\\"}",
        '{"apiVersion":"v1","data":{"a":"hunter2"},"kind":"Secret"}',
        '{"kind": "Secret", "stringData": {"a": "x{y}hunter2"}}',
        "{'kind': 'Secret', 'data': {'a': 'hunter2'}}",
        'annotation {\\"kind\\":\\"Secret\\",\\"data\\":{\\"a\\":\\"hunter2\\"}}',
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: x\nstringData:\n  a: hunter2\n",
        "kind: ConfigMap\n---\nkind: Secret\ndata: {a: hunter2}\n",
    ],
)  # fmt: skip
def test_secrets_are_taken_out_of_text(text: str) -> None:
    found = scrub_text(text)
    assert "hunter2" not in found and PART not in found and GONE in found


@pytest.mark.parametrize(
    "text",
    [
        "applied 35 objects in 1.2 s",
        "apps/menu/secret.yaml:12: spec.replicas: must be an integer",
        "https://git.example/a/b.git: HTTP 503",
        "see mail to cook@kitchen.example",
        "the token was refused",
        "Secret galley-system/vessel-inventory-menu-1 created",
        '{"kind":"ConfigMap","data":{"a":"b"}}',
        "-----BEGIN CERTIFICATE-----",
        "unauthorized",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert scrub_text(text) == text


def test_values_are_scrubbed_at_every_depth_and_by_their_names() -> None:
    found = scrub(
        {
            "headers": {"Authorization": "hunter2", "Accept": "x"},
            "objects": [{"kind": "Secret", "metadata": {"name": "n"}, "data": {"a": "hunter2"}}],
            "token": "hunter2", "db_password": "hunter2", "tokens": 5, "token_ok": True, "secret": None,
            "bytes": JWT.encode(), "error": ValueError(f"Bearer {PART}"), "odd": {1: {2: (JWT,)}},
        }
    )  # fmt: skip
    assert "hunter2" not in repr(found) and PART not in repr(found)
    assert found["objects"][0]["metadata"] == {"name": "n"} and found["tokens"] == 5 and found["token_ok"] is True
    assert found["headers"]["Accept"] == "x" and found["secret"] is None


def test_deep_and_long_values_are_bounded() -> None:
    deep: Any = "x"
    for _ in range(50):
        deep = [deep]
    assert "..." in repr(scrub(deep))
    for part in ("y", "eyJ", "a:", "://", "-----BEGIN PRIVATE KEY-----", "kind: Secret ", '"token":"', "\\", "code="):
        assert len(scrub_text(part * 100_000)) < MAX_TEXT * 3


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_any_value_becomes_json(value: Any) -> None:
    json.dumps(scrub(value))


@given(st.text(), st.text())
def test_a_token_is_found_wherever_it_stands(before: str, after: str) -> None:
    assert PART not in scrub_text(f"{before} {JWT} {after}")


@pytest.fixture
def lines() -> Any:
    stream = io.StringIO()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n") if line]


def test_a_line_is_json_with_its_first_keys_in_order(lines: io.StringIO) -> None:
    log = logs.configure("vessel", stream=lines).bind(node="n-1")
    log.info("applied", objects=3, url="https://a:hunter2@b/")
    log.debug("not shown")
    (line,) = read(lines)
    assert list(line)[:5] == ["ts", "level", "event", "daemon", "node"]
    assert line["ts"].endswith("Z") and line["objects"] == 3 and line["level"] == "info"
    assert "hunter2" not in lines.getvalue()


def test_a_traceback_is_one_line_and_scrubbed(lines: io.StringIO) -> None:
    log = logs.configure("vessel", stream=lines)
    try:
        raise ValueError(f"with {JWT}\nand a line")
    except ValueError:
        log.exception("crashed")
    (line,) = read(lines)
    assert "ValueError" in line["exception"] and PART not in line["exception"]


def test_records_of_other_libraries_take_the_same_way(lines: io.StringIO) -> None:
    logs.configure("vessel", stream=lines)
    logs.configure("vessel", stream=lines)
    logging.getLogger("aiohttp.client").warning("failed with %s", JWT)
    logging.getLogger("aiohttp.access").info("GET /")
    (line,) = read(lines)
    assert line["logger"] == "aiohttp.client" and line["daemon"] == "vessel" and PART not in lines.getvalue()


@pytest.mark.parametrize("text", ["new\nline", "\x1b[31mred", '"quoted"', "<script>", "\u2028"])
def test_no_text_breaks_out_of_its_line(lines: io.StringIO, text: str) -> None:
    logs.configure("vessel", stream=lines).info(text, field=text)
    assert lines.getvalue().count("\n") == 1 and "\x1b" not in lines.getvalue()
    assert read(lines)[0]["event"] == text
