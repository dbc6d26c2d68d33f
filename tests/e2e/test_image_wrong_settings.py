"""What is wrong on the esp, or with a stick, is on the screen and the page: each as its own user, by the real units."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import unescape

import pytest
import yaml

from images.nuc.build import Built
from tests.site_in_a_box.host_suite import SuiteHost, alone
from tests.site_in_a_box.image_shop import SCENARIO

WRONG = """\
v: 1
heartbeat: {interval_seconds: 0}
vessel: {nonsense: 1}
machine: {ntp: [not a name]}
synthetic_client: {scenario: /etc/galley/scenario.yaml}
"""
GOOD = """\
v: 1
vessel: {atlas: {url: "file:///srv/no-atlas", branch: main}}
synthetic_client: {scenario: /etc/galley/scenario.yaml}
"""
PROBLEMS = ("heartbeat.interval_seconds", "vessel.nonsense", "machine.ntp", "synthetic_client.scenario")
GET = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9412/', timeout=30).read().decode())"
SECONDS = 60.0
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def host(image: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SuiteHost]:
    with alone(image, tmp_path_factory.mktemp("wrong"), serial="WRONG-1") as host:
        host.put(WRONG, {})
        host.boot()
        yield host


def screen(host: SuiteHost) -> str:
    """What galley-console draws, as its own user: on no terminal one screen."""
    user = ["--reuid=galley-console", "--regid=galley-console", "--clear-groups", "--no-new-privs", "--inh-caps=-all"]
    return host.run("setpriv", *user, "/opt/galley/bin/galley-console")


def page(host: SuiteHost) -> str:
    host.wait_active("lan-page")
    return unescape(host.run("/opt/galley/bin/python3", "-I", "-c", GET))


LOOKS = {"screen": screen, "page": page}


def shown(host: SuiteHost, where: str, *wanted: str) -> None:
    """Waits until it says all that, however long its lines are and without the code beside them: the page is made anew
    every two seconds."""
    deadline = time.monotonic() + SECONDS
    while True:
        text = re.sub(r"[\s█▀▄]+", " ", LOOKS[where](host))
        left = [one for one in wanted if not re.search(one, text)]
        if not left:
            return
        assert time.monotonic() < deadline, f"{where}: {left}\n{text}"
        time.sleep(0.3)


def test_all_that_is_wrong_on_the_esp_is_on_the_screen_and_the_page(host: SuiteHost) -> None:
    assert host.property("galley-settings", "ExecMainStatus") == "78", host.journal("settings")
    told = [rf"the esp: (galley\.yaml:\d+: )?{re.escape(path)}" for path in PROBLEMS]
    for where in LOOKS:
        shown(host, where, *told, "edge-commander stick check")


def test_a_stick_that_cannot_be_read_is_too(host: SuiteHost) -> None:
    """As galley-stick.service finds none to mount here."""
    host.run("systemctl", "start", "galley-stick")
    for where in LOOKS:
        shown(host, where, r"the stick: cannot be read \(FAT32")


def test_once_it_is_right_nothing_of_it_is_left(host: SuiteHost) -> None:
    host.put(GOOD, {"scenario.yaml": yaml.safe_dump(SCENARIO)})
    host.run("systemctl", "restart", "galley-settings")
    assert host.property("galley-settings", "ExecMainStatus") == "0", host.journal("settings")
    assert host.run("ls", "-A", "/run/galley-notices").split() == []
    assert "wrong" not in screen(host)
