"""What ends somebody's rights, where there is nobody of that name, and where it was done before."""

from __future__ import annotations

import json
from pathlib import Path

from agents.core.jose import SoftwareKey
from tests.integration.endpoint.test_endpoint_cli import profile, run
from tests.site_in_a_box.endpoint import EndpointClient

__all__ = ["profile"]


def ended(profile: Path, *words: str) -> tuple[int, str, str]:
    done = run("cloud_endpoint.cli", "--profile", profile, *words, "--output", "json")
    return done.returncode, done.stdout, done.stderr


async def test_an_operator_is_revoked_once_then_already_and_a_mistyped_one_is_an_error(
    profile: Path, operator: EndpointClient, site: str
) -> None:
    name = f"ann-{site}"
    body = {"name": name, "key": SoftwareKey.generate().public, "scopes": ["fleet:read"]}
    await operator.call("POST", "/v1/admin/operators", body)
    status, out, said = ended(profile, "operator", "revoke", name)
    assert (status, json.loads(out), said) == (0, {"changed": True}, "")
    status, out, said = ended(profile, "operator", "revoke", name)
    assert (status, json.loads(out), said) == (0, {"changed": False}, f"{name} was revoked already: nothing changed\n")
    assert ended(profile, "operator", "revoke", f"{name}x") == (1, "", "galley: no operator of that name\n")


async def test_a_device_that_is_revoked_already_is_said_to_be(profile: Path, device: EndpointClient) -> None:
    assert ended(profile, "device", "revoke", device.name)[0] == 0
    status, out, said = ended(profile, "device", "revoke", device.name)
    assert (status, json.loads(out)) == (0, {"changed": False}) and "was revoked already" in said


async def test_a_grant_is_released_at_a_site_that_there_is(profile: Path, site: str) -> None:
    status, out, said = ended(profile, "site", "wipe-release", site)
    assert (status, json.loads(out)) == (0, {"changed": False}) and "held a grant" in said
    assert ended(profile, "site", "wipe-release", "store-99998") == (1, "", "galley: no such site\n")
