"""Commanders whose machine has a wrong clock, as processes: they say so, make nothing, and go on once it is right."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.ports import free_port
from tests.site_in_a_box.wrong_clock import TEN_YEARS, WrongClock

NAMES = ("nuc-1", "nuc-2", "nuc-3")


def to_1970() -> int:
    return 3600 - int(time.time())


@pytest.mark.parametrize("shift", ["1970", "ten years on"])
async def test_a_machine_in_another_year_waits_and_enrols_once_it_is_set_right(
    shift: str, tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    site, serial = ("store-05970", "NUC-5970") if shift == "1970" else ("store-05010", "NUC-5010")
    await operator.put_site(site)
    code = await operator.ship(serial, site, "nuc-1")
    commander = commanders(tmp_path, endpoint, serial, siblings={"bind": "127.0.0.1", "port": free_port()})
    (tmp_path / "code").write_text(code)
    clock = WrongClock(tmp_path / "clock", to_1970() if shift == "1970" else TEN_YEARS)
    commander.program.env |= clock.environ()
    commander.start()
    commander.wait(lambda: commander.why == "waiting: clock")
    await asyncio.sleep(1.0)  # more turns of its loop
    assert (commander.state, commander.why) == ("enrolling", "waiting: clock")
    clock.set_right()
    commander.wait(lambda: commander.state == "forming")
    assert commander.why != "waiting: clock"


class Site:
    """Three commanders that enrolled at a site which elects offline, and then lost the endpoint."""

    def __init__(self, folder: Path, endpoint: Endpoint, commanders: Callable[..., Any]) -> None:
        self.ports = [free_port() for _ in NAMES]
        self.serials = [f"NUC-58{number}" for number in range(3)]
        self.all = [
            commanders(folder / name, endpoint, serial, siblings={"bind": "127.0.0.1", "port": port})
            for name, serial, port in zip(NAMES, self.serials, self.ports, strict=True)
        ]

    async def enrol(self, operator: EndpointClient, site: str) -> None:
        await operator.call("PUT", f"/v1/admin/sites/{site}", {"labels": {}, "atlas": None, "election": "offline"})
        for one, serial, name, port in zip(self.all, self.serials, NAMES, self.ports, strict=True):
            (one.folder / "code").write_text(await operator.ship(serial, site, name, address=f"127.0.0.1:{port}"))
        for one in self.all:
            one.start()
        for one in self.all:
            one.wait(lambda one=one: voters(one) == 3)
            one.program.stop()

    def alone(self) -> None:
        """The endpoint is out of reach, and the cluster is theirs to make."""
        for one in self.all:
            one.own["distribution"] = {"kind": "kubeadm"}
            one.document["endpoint"]["urls"] = [f"https://127.0.0.1:{free_port()}"]
            one.config.write_text(yaml.safe_dump(one.document))


def voters(commander: Any) -> int:
    found = commander.ident / "site.json"
    return len(json.loads(found.read_text())["value"]["voters"]) if found.exists() else 0


def formation(commander: Any) -> dict[str, Any]:
    found = commander.ident / "formation.json"
    return dict(json.loads(found.read_text())["value"]) if found.exists() else {}


async def test_offline_a_clock_ten_years_on_is_found_out_by_siblings_and_begins_nothing(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any]
) -> None:
    site = Site(tmp_path, endpoint, commanders)
    await site.enrol(operator, "store-05800")
    site.alone()
    wrong, right = site.all[0], site.all[1:]
    clock = WrongClock(tmp_path / "clock", TEN_YEARS)
    wrong.program.env |= clock.environ()
    for one in site.all:
        one.start()
    wrong.wait(lambda: wrong.why == "waiting: clock", 60)
    for one in right:
        one.wait(lambda one=one: formation(one).get("stage") in ("decided", "started"), 60)
    assert wrong.record()["reason"]["detail"] == "2 of 2 siblings have another time than this machine"
    assert not formation(wrong) and not list(wrong.folder.rglob("site-secrets.json"))
    made = [one for one in right if list(one.folder.rglob("site-secrets.json"))]
    assert len(made) <= 1 and wrong.node not in {formation(one)["initialiser"] for one in right}
    clock.set_right()
    wrong.wait(lambda: formation(wrong).get("stage") == "decided", 60)
    assert formation(wrong)["part"] == "join"
    wrong.wait(lambda: wrong.why != "waiting: clock")
