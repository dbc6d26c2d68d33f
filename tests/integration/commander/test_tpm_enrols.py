"""The proof by TPM at a real endpoint: the right machine gets in, a clone and liars do not, and it is told."""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.core.jose import SoftwareKey, decode64, encode64
from agents.core.tpm_public import read_public
from edge_commander.keys import FileKeyStore
from edge_commander.tpm.endorsement import EkKind
from tests.integration.commander.tpm_devices import Device, device, ek_hash
from tests.site_in_a_box.endpoint import Endpoint, EndpointClient
from tests.site_in_a_box.swtpm import Swtpm

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[EndpointClient]:
    async with endpoint.client("", SoftwareKey.generate()) as one:
        yield one


@pytest.fixture
async def listed(operator: EndpointClient, swtpm: Swtpm) -> tuple[str, str]:
    """Site and hardware id of a machine whose proof is `swtpm`."""
    site, hardware = f"store-{secrets.token_hex(4)}", f"NUC-{secrets.token_hex(4)}"
    await operator.put_site(site)
    assert await operator.ship(hardware, site, "kitchen-1", ek_hash=ek_hash(swtpm)) == ""
    return site, hardware


async def alerts(operator: EndpointClient, site: str) -> list[tuple[str, int]]:
    return [(one["code"], one["count"]) for one in await operator.call("GET", f"/v1/fleet/alerts?site={site}")]


def hardware_shown(commander: Any) -> dict[str, Any]:
    """What `edge-commander hardware` prints."""
    command = [sys.executable, "-m", "edge_commander", "hardware", "--config", commander.config, "--output", "json"]
    environment = commander.program.env
    done = subprocess.run(command, capture_output=True, cwd=ROOT, env=environment, check=True, timeout=60)
    return dict(json.loads(done.stdout))


async def soon_a_token(commander: Any) -> bool:
    """Whether a token comes: the TPM loads the keys first."""
    for _ in range(100):
        if (await commander.ask("/v1/token"))[0] == 200:
            return True
        await asyncio.sleep(0.1)
    return False


async def test_from_the_box_to_tokens_by_the_hash_that_the_device_shows(
    tmp_path: Path,
    endpoint: Endpoint,
    operator: EndpointClient,
    commanders: Callable[..., Any],
    swtpm: Swtpm,
    other_swtpm: Swtpm,
) -> None:
    site, hardware = f"store-{secrets.token_hex(4)}", f"NUC-{secrets.token_hex(4)}"
    await operator.put_site(site)
    commander = commanders(tmp_path / "one", endpoint, hardware, tcti=swtpm.tcti)
    told = await asyncio.to_thread(hardware_shown, commander)
    assert (told["hardware_id"], told["node"], told["keys"]) == (hardware, commander.node, "either")
    assert not list(commander.folder.glob("ident/*"))
    await operator.ship(told["hardware_id"], site, "kitchen-1", ek_hash=told["ek_hash"])

    clone = commanders(tmp_path / "clone", endpoint, hardware, tcti=other_swtpm.tcti)
    clone.start()
    clone.wait(lambda: clone.why == "waiting: a person (refused)")
    assert "not the one of the shipping list" in clone.record()["reason"]["detail"]
    assert await alerts(operator, site) == [("other-tpm", 1)]

    commander.start()
    commander.wait(lambda: commander.state == "forming")
    assert sorted(path.name for path in commander.ident.glob("*keys*")) == ["tpm-keys.json"]
    for role in ("vessel", "heartbeat", "synthetic"):
        assert (await commander.ask("/v1/token", role))[0] == 200
    devices = await operator.call("GET", "/v1/admin/devices")
    assert [one["ek_hash"] for one in devices if one["node"] == commander.node] == [told["ek_hash"]]

    clone.program.stop()
    clone.start()
    clone.wait(lambda: clone.why == "waiting: a person (quarantined)")
    assert (await clone.ask("/v1/token"))[0] == 503
    assert sorted(await alerts(operator, site)) == [("other-tpm", 1), ("second-key", 1)]

    swtpm.restart()  # a power cut of its machine
    commander.program.kill()
    commander.start()
    assert await soon_a_token(commander)
    log = commander.program.log.read_text()
    assert "eyJ" not in log and "Traceback" not in log


async def test_a_tpm_that_goes_away_is_waited_for_and_said(
    tmp_path: Path, endpoint: Endpoint, operator: EndpointClient, commanders: Callable[..., Any], swtpm: Swtpm,
    listed: tuple[str, str],
) -> None:  # fmt: skip
    commander = commanders(tmp_path, endpoint, listed[1], tcti=swtpm.tcti)
    commander.start()
    commander.wait(lambda: commander.state == "forming")
    commander.program.stop()
    swtpm.stop()
    commander.start()
    commander.wait(lambda: commander.why == "waiting: tpm")
    assert (await commander.ask("/v1/token"))[0] == 503
    assert (await commander.ask("/v1/site"))[0] == 200
    swtpm.start()
    commander.program.stop()
    commander.start()  # so as not to wait out enrol_seconds
    commander.wait(lambda: commander.why != "waiting: tpm")
    assert await soon_a_token(commander)


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
async def test_both_kinds_of_endorsement_key(
    tmp_path: Path, operator: EndpointClient, client: EndpointClient, swtpm: Swtpm, kind: EkKind
) -> None:
    site, hardware = f"store-{secrets.token_hex(4)}", f"NUC-{secrets.token_hex(4)}"
    await operator.put_site(site)
    await operator.ship(hardware, site, "kitchen-1", ek_hash=ek_hash(swtpm, kind))
    right = device(tmp_path / "right", swtpm, hardware, client, kind)
    status, body = await right.enrol()
    assert (status, body["status"], body["site"]) == (200, "enrolled", site)
    again, body = await right.ask()
    assert (again, body["status"]) == (200, "enrolled")


async def test_one_who_shows_anothers_endorsement_key_cannot_open_the_challenge(
    tmp_path: Path, operator: EndpointClient, client: EndpointClient, swtpm: Swtpm, other_swtpm: Swtpm,
    listed: tuple[str, str],
) -> None:  # fmt: skip
    site, hardware = listed
    right = device(tmp_path / "right", swtpm, hardware, client)
    liar = device(tmp_path / "liar", other_swtpm, hardware, client)
    assert right.keys.attester is not None and liar.keys.attester is not None
    stolen = {"ek": encode64(right.keys.attester.evidence().ek)}  # it is no secret
    status, body = await liar.ask(**stolen)
    assert (status, body["status"]) == (202, "challenge")
    with pytest.raises(Exception, match="tpm2_activatecredential"):
        liar.keys.attester.open(decode64(body["challenge"]))
    with pytest.raises(Exception, match="tpm2_activatecredential"):  # the right TPM does not open it either:
        right.keys.attester.open(decode64(body["challenge"]))  # it has no key of the liar's Name
    guess = encode64(secrets.token_bytes(32))
    status, body = await liar.ask(**stolen, challenge_answer=guess)
    assert (status, body["status"], body["site"]) == (403, "refused", None)
    assert "did not open the challenge" in body["reason"]
    assert await alerts(operator, site) == [("other-tpm", 1)]
    waiting = await operator.call("GET", "/v1/admin/enrolments")
    assert [one["status"] for one in waiting if one["hardware_id"] == hardware] == ["refused"]
    assert (await right.enrol())[0] == 200


async def test_a_challenge_is_for_one_answer_by_the_keys_that_asked(
    tmp_path: Path, client: EndpointClient, swtpm: Swtpm, listed: tuple[str, str]
) -> None:
    _, hardware = listed
    one = device(tmp_path / "one", swtpm, hardware, client)
    two = device(tmp_path / "two", swtpm, hardware, client)  # other keys in the same TPM
    assert one.keys.attester is not None
    _, first = await one.ask()
    answer = encode64(one.keys.attester.open(decode64(first["challenge"])))
    status, body = await two.ask(challenge_answer=answer)
    assert (status, body["status"]) == (202, "challenge")  # it has none open: it gets its own
    _, second = await one.ask()  # a newer one replaces the older
    status, body = await one.ask(challenge_answer=answer)
    assert (status, body["status"]) == (403, "refused")
    status, body = await one.ask(second["challenge"])  # and is spent by the wrong answer
    assert (status, body["status"]) == (202, "challenge")
    assert (await one.ask(body["challenge"]))[0] == 200


async def test_a_key_outside_the_tpm_is_not_taken_for_one_inside(
    tmp_path: Path, client: EndpointClient, swtpm: Swtpm, listed: tuple[str, str]
) -> None:
    """One who is root on the right machine, and would rather have a key that can be copied."""
    _, hardware = listed
    (tmp_path / "soft").mkdir()
    soft = Device(FileKeyStore(tmp_path / "soft").create(), hardware, client)
    real = device(tmp_path / "real", swtpm, hardware, client)
    assert real.keys.attester is not None
    evidence = real.keys.attester.evidence()
    shown = {"ek": encode64(evidence.ek), "key_public": encode64(evidence.key_public)}
    status, body = await soft.ask(**shown)
    assert (status, "not the public area of the signing key" in body["detail"]) == (400, True)
    x, y = (decode64(soft.keys.signer.public[part]) for part in ("x", "y"))
    forged = evidence.key_public[: -2 * 34] + b"\0\x20" + x + b"\0\x20" + y  # as if the TPM had made it
    assert read_public(forged).jwk == soft.keys.signer.public
    status, body = await soft.ask(**{**shown, "key_public": encode64(forged)})
    assert (status, body["status"]) == (202, "challenge")
    with pytest.raises(Exception, match="tpm2_activatecredential"):  # no TPM will have a key of that Name
        real.keys.attester.open(decode64(body["challenge"]))


async def test_without_a_tpm_it_waits_for_a_person(
    tmp_path: Path, operator: EndpointClient, client: EndpointClient, listed: tuple[str, str]
) -> None:
    site, hardware = listed
    soft = Device(FileKeyStore(tmp_path).create(), hardware, client)
    status, body = await soft.ask()
    assert (status, body["status"], "does not show" in body["reason"]) == (202, "pending", True)
    assert await alerts(operator, site) == []
    waiting = await operator.call("GET", "/v1/admin/enrolments")
    number = next(one["id"] for one in waiting if one["hardware_id"] == hardware)
    await operator.call("POST", f"/v1/admin/enrolments/{number}/approve", {})
    status, body = await soft.ask()
    assert (status, body["status"]) == (200, "enrolled")
    devices = await operator.call("GET", "/v1/admin/devices")
    assert [one["ek_hash"] for one in devices if one["hardware_id"] == hardware] == [""]  # nothing was proven


async def test_what_the_list_takes(operator: EndpointClient) -> None:
    site = f"store-{secrets.token_hex(4)}"
    await operator.put_site(site)
    line = {"hardware_id": f"NUC-{secrets.token_hex(4)}", "site": site, "name": "kitchen-1"}
    for bad in ({"proof": "tpm"}, {"ek_hash": "a" * 64}, {"proof": "tpm", "ek_hash": "A" * 64}, {"proof": "dna"}):
        status, body = await operator.call("POST", "/v1/admin/shipping", {**line, **bad}, ok=False)
        assert (status, "$." in body["detail"]) == (400, True), bad
    good = {**line, "proof": "tpm", "ek_hash": "a" * 64}
    assert (await operator.call("POST", "/v1/admin/shipping", good))["line"]["ek_hash"] == "a" * 64
    changed = await operator.call("POST", "/v1/admin/shipping", line)  # by code after all
    assert (changed["line"]["proof"], changed["line"]["ek_hash"]) == ("code", "")
