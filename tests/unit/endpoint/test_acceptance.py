"""The acceptance checklist: what makes each check fail, in words, and nothing else with it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agents.contracts.health import HealthBit, pack
from agents.core.jose import SoftwareKey, thumbprint
from agents.core.signed import sign_document
from cloud_endpoint.cli.acceptance import NOT_ACCEPTED, rows, status
from cloud_endpoint.records import DeploymentRecord, NodeRecord, SiteRecord, SiteView, SyntheticRecord
from cloud_endpoint.rules.acceptance import FACTS_MS, judge_site
from cloud_endpoint.rules.acceptance_report import (
    ACCEPTANCE_TYPE,
    MAX_AGE_MS,
    SKEW_MS,
    AcceptanceRefused,
    AcceptanceReport,
    CheckName,
    sign_report,
    verify_report,
)
from tests.site_in_a_box.reports import deployment, facts, state, step

NOW = 1_700_000_000_000
SITE = "store-01234"
DISK: dict[str, Any] = {"path": "/var", "total": 1000, "free": 500, "inodes_free_percent": 97.0}
Change = Callable[[SiteView], SiteView]


def node(number: int, **changes: Any) -> NodeRecord:
    good = dict.fromkeys(HealthBit, True)
    values: dict[str, Any] = {
        "node": f"n-{'abcdefgh'[number] * 16}",
        "site": SITE,
        "name": f"nuc-{number}",
        "address": "",
        "status": "enrolled",
        "beat_ms": NOW - 10_000,
        "beat": {"kind": "beat", "boot": "1a2b3c4d", "up": 1, "ok": pack(good)},
        "facts_ms": NOW - 60_000,
        "facts": facts(interval=15.0),
        "state_ms": NOW - 60_000,
        "state": state("ready", ""),
    }
    return NodeRecord(**values | changes)


def deployed(app: str, phase: str = "healthy", *, revision: str = "4f" * 20, t: int = NOW - 1000) -> DeploymentRecord:
    body = deployment(app, phase, revision=revision)
    return DeploymentRecord(site=SITE, app=app, node="n", t=t, received_ms=t, body=body)


def measured(name: str = "menu", ok: int = 5, failed: int = 0, *, received_ms: int = NOW - 1000) -> SyntheticRecord:
    body = step(name, {2: ok} if ok else {}, failed=failed, error="no broker" if failed else "")
    return SyntheticRecord(
        site=SITE, scenario="shop", step=name, node="n", t=0, received_ms=received_ms, seconds=60.0, body=body
    )


def view(**changes: Any) -> SiteView:
    values: dict[str, Any] = {
        "site": SiteRecord(site=SITE, epoch=2, generation=9),
        "nodes": [node(n) for n in range(3)],
        "deployments": [deployed("*"), deployed("pos", t=NOW - 5000)],
        "synthetics": [measured(), measured("mqtt")],
        "alerts": [],
        "now_ms": NOW,
    }
    return SiteView(**values | changes)


def nodes(**changes: Any) -> Change:
    """The first node is otherwise."""
    return lambda seen: msgspec.structs.replace(seen, nodes=[node(0, **changes), *seen.nodes[1:]])


def but(**changes: Any) -> Change:
    return lambda seen: msgspec.structs.replace(seen, **changes)


def bad_clock() -> dict[str, Any]:
    return {"kind": "beat", "boot": "1a2b3c4d", "up": 1, "ok": pack({HealthBit.CLOCK: False})}


def with_facts(**changes: Any) -> Change:
    return nodes(facts=facts(interval=15.0, **changes))


def test_a_site_that_is_as_it_should_be_is_accepted() -> None:
    report = judge_site(view())
    assert [check.name for check in report.checks] == list(CheckName)
    assert report.accepted, report
    assert (report.site, report.epoch, report.generation, report.at) == (SITE, 2, 9, NOW)
    assert (report.revision, len(report.nodes)) == ("4f" * 20, 3)


@pytest.mark.parametrize(
    ("change", "fails", "says"),
    [
        (lambda seen: but(nodes=seen.nodes[:2])(seen), "enrolled", "2 of 3 nodes enrolled"),
        (lambda seen: but(nodes=[*seen.nodes, node(4, status="shipped")])(seen), "enrolled", "nuc-4 is shipped"),
        (nodes(status="revoked"), "enrolled", "2 of 3"),
        (nodes(state=None), "ready", "nuc-0 has not told"),
        (nodes(state=state("forming", "waiting: turn")), "ready", "nuc-0 is forming, waiting: turn"),
        (nodes(state=state("ready", "waiting: node ready")), "ready", "waiting: node ready"),
        (nodes(beat_ms=None), "beats", "nuc-0 was never heard"),
        (nodes(beat_ms=NOW - 31_000), "beats", "nuc-0 was last heard 31 s ago"),
        (but(deployments=[]), "atlas", "no Atlas was applied"),
        (but(deployments=[deployed("pos")]), "atlas", "no Atlas was applied"),
        (but(deployments=[deployed("*", "degraded")]), "atlas", "the Atlas is degraded at 4f4f4f4f4f4f"),
        (but(deployments=[deployed("*", "prune-held")]), "atlas", "prune-held"),
        (but(deployments=[deployed("*", revision="")]), "atlas", "the Atlas is healthy"),
        (but(deployments=[deployed("*"), deployed("pos", "degraded")]), "atlas", "pos is degraded"),
        (
            but(deployments=[deployed("*"), deployed("pos", revision="aa" * 20, t=NOW)]),
            "atlas",
            "pos is at another revision, aaaaaaaaaaaa",
        ),
        (but(synthetics=[]), "synthetic", "no synthetic step"),
        (but(synthetics=[measured(), measured("mqtt", 3, 2)]), "synthetic", "mqtt failed 2 of 5 times: no broker"),
        (but(synthetics=[measured(ok=0)]), "synthetic", "did not run"),
        (but(synthetics=[measured(received_ms=NOW - 301_000)]), "synthetic", "last reported 301 s ago"),
        (with_facts(clock_synchronized=False), "clock", "nuc-0 has a clock that is not synchronised"),
        (with_facts(clock_synchronized=None), "clock", "does not know"),
        (nodes(beat=bad_clock()), "clock", "not synchronised"),
        (with_facts(disks=[DISK, DISK | {"path": "/keep", "free": 150}]), "disks", "/keep is 85% full"),
        (with_facts(disks=[DISK | {"inodes_free_percent": 3.0}]), "disks", "/var is 97% full"),
        (with_facts(disks=[]), "disks", "nuc-0 names no disk"),
    ],
)
def test_one_thing_wrong_fails_its_check_alone(change: Change, fails: str, says: str) -> None:
    report = judge_site(change(view()))
    assert [check.name.value for check in report.checks if not check.ok] == [fails]
    assert says in next(check.text for check in report.checks if not check.ok)


@pytest.mark.parametrize("facts_ms", [None, NOW - FACTS_MS - 1])
def test_old_facts_say_nothing_about_clock_and_disks(facts_ms: int | None) -> None:
    found = judge_site(nodes(facts_ms=facts_ms)(view()))
    assert [check.name.value for check in found.checks if not check.ok] == ["clock", "disks"]


def test_nothing_is_no_site() -> None:
    found = judge_site(view(nodes=[], deployments=[], synthetics=[]), nodes=0)
    assert [check.name.value for check in found.checks if check.ok] == ["enrolled"]


def test_just_within_every_bound_is_accepted() -> None:
    edge = nodes(
        beat_ms=NOW - 29_999, facts_ms=NOW - FACTS_MS, facts=facts(interval=15.0, disks=[DISK | {"free": 151}])
    )(view(synthetics=[measured(received_ms=NOW - 300_000)]))
    assert judge_site(edge).accepted
    revoked = view(nodes=[*view().nodes, node(5, status="revoked", beat_ms=None, state=None)])
    assert judge_site(revoked).accepted, "whoever was revoked is out of the site"
    removed = view(deployments=[deployed("*"), deployed("gone", "degraded", revision="00" * 20, t=NOW - 9000)])
    assert judge_site(removed).accepted, "an older commit's word on an app is past"
    assert judge_site(view(nodes=[node(0)]), nodes=1).accepted


def test_the_text_of_a_check_stays_within_its_contract() -> None:
    many = [measured(f"step-{n}-{'x' * 200}", 1, 1) for n in range(100)]
    report = judge_site(view(synthetics=many))
    assert msgspec.json.decode(msgspec.json.encode(report), type=AcceptanceReport) == report


KEY = SoftwareKey.generate("Ed25519")
KEYS = {thumbprint(KEY.public): KEY.public}
GOOD = judge_site(view())


def test_a_signed_report_comes_back_with_who_signed() -> None:
    for report in (GOOD, judge_site(view(synthetics=[]))):
        signed = sign_report(report, KEY)
        assert verify_report(signed, KEYS, site=SITE, epoch=2, now_ms=NOW) == (report, list(KEYS))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"site": "store-09999"}, "another site"),
        ({"epoch": 1}, "epoch 1"),
        ({"at": NOW - MAX_AGE_MS - 1}, "verify again"),
        ({"at": NOW + SKEW_MS + 1}, "verify again"),
        ({"checks": GOOD.checks[:-1]}, "payload"),
        ({"checks": [*GOOD.checks[:-1], GOOD.checks[0]]}, "each check once"),
    ],
)
def test_a_report_of_another_place_or_time_is_refused(changes: dict[str, Any], says: str) -> None:
    signed = sign_report(msgspec.structs.replace(GOOD, **changes), KEY)
    with pytest.raises(AcceptanceRefused, match=says):
        verify_report(signed, KEYS, site=SITE, epoch=2, now_ms=NOW)


def test_a_signature_of_anybody_else_or_for_another_use_is_refused() -> None:
    strange = sign_report(GOOD, SoftwareKey.generate("Ed25519"))
    other_use = sign_document(GOOD, [KEY], "galley-epoch+jws")
    changed = msgspec.structs.replace(sign_report(GOOD, KEY), payload=strange.payload[:-2] + "AA")
    for signed in (strange, other_use, changed):
        with pytest.raises(AcceptanceRefused):
            verify_report(signed, KEYS, site=SITE, epoch=2, now_ms=NOW)
    assert ACCEPTANCE_TYPE == "galley-acceptance+jws"


def test_the_table_and_the_exit_status_follow_the_checks() -> None:
    bad = judge_site(view(synthetics=[]))
    for report, code, word in ((GOOD, 0, "accepted"), (bad, NOT_ACCEPTED, "NOT ACCEPTED")):
        answer = {"accepted": report.accepted, **msgspec.to_builtins(report), "signed_by": "ann"}
        assert status(answer, argparse.Namespace()) == code
        lines = rows(answer)
        assert [line["name"] for line in lines] == [*CheckName, SITE]
        assert (lines[-1]["result"], lines[-1]["text"]) == (word, "epoch 2, signed by ann, stored")
    assert [line["result"] for line in rows(answer)].count("NOT OK") == 1
