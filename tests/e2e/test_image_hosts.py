"""The image's own root as hosts on a LAN, set up by their esp alone: they enrol, and a foreign machine gets nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.contracts.ids import node_id
from images.nuc.build import Built
from tests.site_in_a_box.cluster_host import each
from tests.site_in_a_box.host_suite import USERS, ask
from tests.site_in_a_box.image_host import ImageHost
from tests.site_in_a_box.image_shop import ImageShop, password
from tests.site_in_a_box.lan import address

SITE, ELSEWHERE = "store-00031", "store-00032"
SERIALS = ["GALLEY-IMG-1", "GALLEY-IMG-2", "GALLEY-IMG-3"]
STRANGERS = ["never-shipped", "shipped-elsewhere", "anothers-serial"]
UNITS = ("edge-commander", "heartbeat", "vessel", "synthetic-client", "discovery", "lan-page")
LISTENS = {
    ("tcp", "127.0.0.1", 9401), ("tcp", "127.0.0.1", 9402), ("tcp", "127.0.0.1", 9403), ("tcp", "127.0.0.1", 9404),
    ("tcp", "0.0.0.0", 9411), ("tcp", "0.0.0.0", 9412), ("udp", "0.0.0.0", 5353),
}  # fmt: skip
"""What every such host listens at; containerd's streaming port, on loopback, is whatever is free."""
MAY = {*LISTENS, ("tcp", "0.0.0.0", 9412), ("udp", "0.0.0.0", 9410), ("udp", "0.0.0.0", 68)}
"""All that docs/image.md names."""
SECONDS = 120.0
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def shop(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageShop]:
    """Three boxes that were shipped, up and enrolled."""
    with ImageShop(image, tmp_path_factory.mktemp("shop"), [SITE, ELSEWHERE]) as shop:
        for number, serial in enumerate(SERIALS, 1):
            shop.box(number, serial, shop.ship(serial, SITE, number))
        each(shop.boxes, ImageHost.boot)
        until(lambda: len(enrolled(shop)) == 3, "all three are enrolled, and beat", shop)
        yield shop


@pytest.fixture(scope="module")
def strangers(shop: ImageShop) -> dict[str, ImageHost]:
    """Boxes with the same image and the same settings, in the same LAN."""
    used = (shop.boxes[1].esp / "galley/enrol-code").read_text()
    found = {
        "never-shipped": shop.box(4, "GALLEY-IMG-4", used),
        "shipped-elsewhere": shop.box(5, "GALLEY-IMG-5", shop.ship("GALLEY-IMG-5", ELSEWHERE, 5)),
        "anothers-serial": shop.box(6, SERIALS[1], used),
    }
    each(list(found.values()), ImageHost.boot)
    return found


def until(probe: Callable[[], Any], what: str, shop: ImageShop) -> Any:
    """Polls until the probe's answer is true, and returns it."""
    deadline = time.monotonic() + SECONDS
    while not (found := probe()):
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}\n" + "\n".join(map(story, shop.boxes))
        time.sleep(0.3)
    return found


def story(box: ImageHost) -> str:
    journal = box.run(
        "journalctl", "-b", "-t", "edge-commander", "-t", "settings", "-n", "15", "-o", "cat", "--no-pager"
    )
    return f"== {box.serial} {status(box)}\n{journal}"


def status(box: ImageHost) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(box.call("edge-commander", "status", "--output", "json").stdout or "{}")
    return found


def nodes(shop: ImageShop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shop.cloud("GET", f"/v1/fleet/nodes?site={SITE}")
    return found


def node(shop: ImageShop, serial: str) -> dict[str, Any]:
    return next(one for one in nodes(shop) if one["node"] == node_id(serial))


def enrolled(shop: ImageShop) -> set[str]:
    return {one["node"] for one in nodes(shop) if one["status"] == "enrolled" and one["beat_ms"]}


def test_three_boxes_with_the_image_enrol_and_no_unit_failed(shop: ImageShop) -> None:
    assert enrolled(shop) == {node_id(serial) for serial in SERIALS}
    for box in shop.boxes[:3]:
        assert not box.run("systemctl", "--failed", "--no-legend", "--plain").strip()
        assert box.run("systemctl", "is-system-running").strip() == "running"
        assert [box.property(f"galley-{unit}.service", "ActiveState") for unit in UNITS] == ["active"] * len(UNITS)
        assert "ordering cycle" not in box.run("journalctl", "-b", "--no-pager", "-o", "cat", "_PID=1").lower()
        assert "erofs ro" in box.run("findmnt", "-rno", "FSTYPE,OPTIONS", "/")
    facts = until(lambda: node(shop, SERIALS[0])["facts"], "facts", shop)
    assert facts["hardware"] == "Intel(R) Client Systems NUC12WSHi5"
    assert facts["serial"] == SERIALS[0]


def test_nothing_listens_that_the_docs_do_not_name(shop: ImageShop) -> None:
    until(lambda: all(listeners(box) >= LISTENS for box in shop.boxes[:3]), f"{LISTENS} are open", shop)
    for box in shop.boxes[:3]:
        assert not {one for one in listeners(box) if one not in MAY and (one[0], "0.0.0.0", one[2]) not in MAY}


def listeners(box: ImageHost) -> set[tuple[str, str, int]]:
    """Protocol, address and port of each, but containerd's own on loopback."""
    found = set()
    for line in box.run("ss", "-Hltunp").splitlines():
        kind, _, _, _, local, _, *who = line.split()
        host, _, port = local.rpartition(":")
        if not ("containerd" in "".join(who) and host == "127.0.0.1"):
            found.add((kind, host.partition("%")[0], int(port)))
    return found


def test_nobody_can_log_in(shop: ImageShop) -> None:
    """No password, no getty, no shell over the network."""
    box = shop.boxes[0]
    assert not [line for line in box.run("cat", "/etc/shadow").splitlines() if line.split(":")[1][:1] not in ("*", "!")]
    units = box.run("systemctl", "list-units", "--all", "--no-legend", "--plain", "*getty*", "*ssh*", "*login*")
    assert not [line for line in units.splitlines() if " active " in line]
    assert box.call("ls", "/usr/sbin/sshd").returncode != 0


ASK = """
import os, socket, ssl, sys
context = ssl._create_unverified_context()
if os.path.exists("/run/galley/sibling.pem"):
    context.load_cert_chain("/run/galley/sibling.pem")
said = b""
try:
    with context.wrap_socket(socket.create_connection((sys.argv[1], 9411), 5)) as link:
        link.sendall(f"GET {sys.argv[2]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n".encode())
        while piece := link.recv(4096):
            said += piece
except OSError as error:
    print(type(error).__name__)
print(said.decode())
"""
"""A request to a sibling, with the certificate that the asker's commander has, if it has one."""


def sibling_says(asker: ImageHost, path: str) -> str:
    return asker.run("/opt/galley/bin/python3", "-I", "-c", ASK, address(1), path)


def test_a_box_of_the_site_is_answered(shop: ImageShop) -> None:
    """What the strangers below are refused can be had."""
    box = shop.boxes[1]
    assert "HTTP/1.1 200" in until(lambda: said if "HTTP/" in (said := sibling_says(box, "/v1/formation")) else "",
                                   "a sibling answers", shop)  # fmt: skip
    code, body = ask(box, USERS["vessel"], "/v1/git-credential")
    assert (code, body["password"]) == (200, password(SITE))


@pytest.mark.parametrize(
    ("who", "reason"),
    [("never-shipped", "not on the shipping list"), ("anothers-serial", "another key is enrolled")],
)
def test_a_machine_that_nobody_shipped_gets_nothing(
    shop: ImageShop, strangers: dict[str, ImageHost], who: str, reason: str
) -> None:
    """The same image, settings and LAN, and a code that was used: no token, no site, no Atlas."""
    box = strangers[who]
    until(lambda: reason in status(box).get("reason", ""), f"{who} says so", shop)
    assert not box.run("systemctl", "--failed", "--no-legend", "--plain").strip()
    for unit in ("vessel", "heartbeat", "synthetic-client", "edge-commander"):
        for route in ("/v1/token", "/v1/site", "/v1/git-credential"):
            code, body = ask(box, USERS[unit], route)
            assert code in (403, 503), (unit, route, body)
    assert status(box)["site"] is None
    assert box.run("sh", "-c", "ls /var/lib/galley/edge-commander").split() == OUTBOX
    assert enrolled(shop) == {node_id(serial) for serial in SERIALS}


OUTBOX = ["outbox.db", "outbox.db-shm", "outbox.db-wal", "outbox.db.lock"]
"""What it has to tell the cloud, and may not; and nothing of a site."""


def test_a_machine_of_another_site_is_given_that_one_alone(shop: ImageShop, strangers: dict[str, ImageHost]) -> None:
    box = strangers["shipped-elsewhere"]
    until(lambda: status(box).get("secrets") == 1, "it has its own site's secrets", shop)
    code, site = ask(box, USERS["vessel"], "/v1/site")
    assert (code, site["site"]) == (200, ELSEWHERE)
    assert not [serial for serial in SERIALS if node_id(serial) in json.dumps(site)]
    code, body = ask(box, USERS["vessel"], "/v1/git-credential")
    assert (code, body["password"]) == (200, password(ELSEWHERE))
    assert node_id("GALLEY-IMG-5") not in {one["node"] for one in nodes(shop)}


@pytest.mark.parametrize("who", STRANGERS)
def test_siblings_answer_no_stranger(shop: ImageShop, strangers: dict[str, ImageHost], who: str) -> None:
    """Also not one that has a certificate of its own: it is of no node of the roster."""
    until(lambda: ("tcp", "0.0.0.0", 9411) in listeners(shop.boxes[0]), "the siblings' port is open", shop)
    for path in ("/v1/formation", "/v1/secrets", "/v1/election"):
        assert "HTTP/" not in sibling_says(strangers[who], path)


def test_the_box_with_that_serial_works_on(shop: ImageShop, strangers: dict[str, ImageHost]) -> None:
    """And somebody is told that another machine asks to be it."""
    until(lambda: "another key" in status(strangers["anothers-serial"]).get("reason", ""), "it was refused", shop)
    alerts = shop.cloud("GET", f"/v1/fleet/alerts?site={SITE}")
    assert {(one["code"], one["node"]) for one in alerts} == {("second-key", node_id(SERIALS[1]))}
    before = node(shop, SERIALS[1])["beat_ms"]
    until(lambda: node(shop, SERIALS[1])["beat_ms"] > before, "it beats on", shop)
    assert ask(shop.boxes[1], USERS["heartbeat"], "/v1/token")[0] == 200
