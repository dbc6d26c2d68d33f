"""The page on the LAN: what it says, that nothing in it can act, and which requests get it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from http import HTTPStatus

import pytest

from agents.contracts.messages import NodeState
from edge_commander.console.screen import lines
from edge_commander.console.view import Seen, view
from edge_commander.lan_page import request
from edge_commander.lan_page.document import POLICY, REFRESH_SECONDS, page
from edge_commander.lan_page.request import answer, end_of, is_own, judge
from edge_commander.lan_page.server import Places, Visit
from edge_commander.ledger import Past
from edge_commander.reasons import Reason, Why
from edge_commander.view import Around, MemberView, StatusDocument

NOW = 1_800_000_000_000
EVIL = '</dd><script>alert(1)</script><img src=x onerror=alert(1)>" onload=x &amp; \x1b[2J\u202e'


class Tags(HTMLParser):
    """Names of the tags and all text that is there."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(reason: str = Why.APPROVAL.value, text: str = "kitchen-1", **more: object) -> Seen:
    document = StatusDocument(
        state=NodeState.FORMING, reason=reason, since=NOW - 61_000, node="n-abcdefghij234567", site="store-01234",
        past=[Past(id="a" * 32, verb=text, outcome="done", detail=text, at=NOW)],
        around=Around(name=text, members=[MemberView(name=text, ready=True, server=True, version=text)]),
    )  # fmt: skip
    fields = {"now_ms": NOW, "version": "1.4.0", "serial": "GEXX12345678", "addresses": ["192.168.2.7"], **more}
    return Seen(document=document, **fields)  # type: ignore[arg-type]


def test_it_shows_what_the_console_shows() -> None:
    shown = view(seen(Reason(Why.TURN, "kitchen-2 is joining").text, early=["vda: cannot be partitioned"]))
    told = re.sub(r"\s+", " ", Tags(page(shown).decode()).text)
    for text in ("n-abcdefghij234567", "GEXX12345678", "192.168.2.7", "forming", "turn: kitchen-2 is joining", "1 min",
                 "nothing: one node after another", "vda: cannot be partitioned", "1.4.0",
                 "since 2027-01-15"):  # fmt: skip
        assert text in told, text
    screen = " ".join(" ".join(lines(shown, width=132, height=60)).split())
    for name, text in shown.more:
        assert name in told and text in told and text in screen


def test_what_others_say_is_text_and_nothing_else() -> None:
    plain, evil = (
        Tags(page(view(seen(reason, text, serial=text, version=text, problems=[text], early=[text]))).decode())
        for reason, text in ((Why.TURN.value, "harmless"), (f"{Why.TURN.value}: {EVIL}", EVIL))
    )
    # The same page, but for the one problem that is not the same as the notice once it was cleaned.
    assert [one for one in evil.tags if one not in plain.tags] == [] and len(evil.tags) == len(plain.tags)
    assert evil.attributes == plain.attributes
    assert "<script>alert(1)</script>" in evil.text and "\x1b" not in evil.text and "\u202e" not in evil.text


def test_its_policy_allows_its_own_style_and_nothing_else() -> None:
    text = page(view(seen())).decode()
    style = re.search(r"<style>(.*)</style>", text)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in POLICY and POLICY.startswith("default-src 'none'")
    assert "script-src" not in POLICY and "style=" not in text and "http:" not in text and "//" not in text
    assert f'http-equiv="refresh" content="{REFRESH_SECONDS}"' in text and "width=device-width" in text


def head(first: str = "GET / HTTP/1.1", *fields: str) -> bytes:
    return "\r\n".join([first, *(fields or ("Host: 192.168.2.7:9412",)), "", ""]).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(), HTTPStatus.OK),
        (head("GET /?from=desk HTTP/1.1"), HTTPStatus.OK),
        (head("GET http://192.168.2.7/ HTTP/1.1"), HTTPStatus.OK),
        (head("HEAD / HTTP/1.1"), HTTPStatus.OK),
        (b"GET / HTTP/1.0\n\n", HTTPStatus.OK),
        (head("GET /favicon.ico HTTP/1.1"), HTTPStatus.NOT_FOUND),
        (head("GET /../etc/passwd HTTP/1.1"), HTTPStatus.NOT_FOUND),
        (head("GET /%2e%2e/ HTTP/1.1"), HTTPStatus.NOT_FOUND),
        (head("GET //evil.example/ HTTP/1.1"), HTTPStatus.NOT_FOUND),
        (head("POST / HTTP/1.1"), HTTPStatus.METHOD_NOT_ALLOWED),
        (head("DELETE / HTTP/1.1"), HTTPStatus.METHOD_NOT_ALLOWED),
        (head("CONNECT 192.168.2.7:22 HTTP/1.1"), HTTPStatus.METHOD_NOT_ALLOWED),
        (head("OPTIONS * HTTP/1.1"), HTTPStatus.METHOD_NOT_ALLOWED),
        (head("GET / HTTP/1.1", "Accept: */*"), HTTPStatus.BAD_REQUEST),
        (head("GET / HTTP/1.1", "Host: a", "Host: b"), HTTPStatus.BAD_REQUEST),
        (head("GET / HTTP/1.1", "Host: evil.example"), HTTPStatus.MISDIRECTED_REQUEST),
        (head("GET / HTTP/2.0"), HTTPStatus.BAD_REQUEST),
        (head("get / HTTP/1.1"), HTTPStatus.BAD_REQUEST),
        (head("GET  / HTTP/1.1"), HTTPStatus.BAD_REQUEST),
        (head("GET /\x00 HTTP/1.1"), HTTPStatus.BAD_REQUEST),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", HTTPStatus.BAD_REQUEST),
        (b"\r\n\r\n", HTTPStatus.BAD_REQUEST),
    ],
)
def test_one_document_at_one_path(sent: bytes, status: HTTPStatus) -> None:
    assert end_of(sent) == len(sent)
    assert judge(sent).status is status


@pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:9412", "[fd00::7]:9412", "nuc-1", "nuc.lan", "NUC.local:9412"])
def test_names_of_a_network_s_own_are_answered(host: str) -> None:
    assert is_own(host)


@pytest.mark.parametrize("host", ["evil.example", "10.1.2.3.evil.example", "local.example:9412", ".local", ""])
def test_names_that_a_site_of_the_internet_can_have_are_not(host: str) -> None:
    assert not is_own(host)


def test_an_answer_is_whole_and_holds_nothing_of_the_request() -> None:
    for status in (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.SERVICE_UNAVAILABLE):
        raw = answer(status, b"body")
        fields, _, body = raw.decode().partition("\r\n\r\n")
        assert f"Content-Length: {len(body)}" in fields and "Connection: close" in fields
        for name in ("Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"):
            assert f"{name}: " in fields
        assert answer(status, b"body", head=True) == fields.encode() + b"\r\n\r\n"
        assert ("Allow: GET, HEAD" in fields) is (status is HTTPStatus.METHOD_NOT_ALLOWED)
    assert request.MAX_HEAD < 2**14


class Guest(Visit):
    """A connection without a socket."""

    def __init__(self, places: Places, peer: str) -> None:
        super().__init__(places, _none)
        self.peer = peer
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True
        super().drop()


async def _none() -> bytes | None:
    return None


def test_who_only_holds_on_gives_its_place_to_who_comes() -> None:
    places = Places(most=4, each=2)
    guests = [Guest(places, f"10.0.0.{i // 2}") for i in range(4)]
    assert all(places.admit(one) for one in guests)
    assert not places.admit(Guest(places, "10.0.0.0")) and places.taken == 4  # too many from there
    guests[0].asked = guests[1].asked = True
    late = Guest(places, "10.0.0.9")
    assert places.admit(late) and [one.dropped for one in guests] == [False, False, True, False]
    guests[3].asked = late.asked = True
    assert not places.admit(Guest(places, "10.0.0.8"))  # all are waiting for their answer
    guests[1].answered = True
    assert places.admit(Guest(places, "10.0.0.8")) and guests[1].dropped
    for one in guests:
        places.leave(one)
    assert places.taken == 2 and places.admit(Guest(places, "10.0.0.0"))
