"""What `galley` says when a login or a value is refused: what to mend, not which rule of the wire was broken."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agents.core.jose import SoftwareKey
from cloud_endpoint import keyfile
from tests.integration.endpoint.test_endpoint_cli import profile, run
from tests.site_in_a_box.endpoint import Endpoint

__all__ = ["profile"]
JARGON = ("client_assertion", "aud ", "iss ", "alg ", "kid ", "regex", "enum", "$.")


async def refused(profile: Path, *words: str | Path) -> str:
    done = await asyncio.to_thread(run, "cloud_endpoint.cli", "--profile", profile, *words)
    assert done.returncode in (1, 2) and done.stdout == "", done
    assert not [one for one in JARGON if one in done.stderr], done.stderr
    return done.stderr


async def test_a_login_that_is_refused_says_what_to_mend(endpoint: Endpoint, profile: Path, tmp_path: Path) -> None:
    said = await refused(profile, "--issuer", "https://elsewhere.test", "site", "list")
    assert "does not go by the name https://elsewhere.test: set `issuer` in the profile" in said
    said = await refused(profile, "--operator", "nobody", "site", "list")
    assert "knows no operator 'nobody'" in said
    said = await refused(profile, "--key-file", endpoint.command_key_file, "site", "list")
    assert f"{endpoint.command_key_file} is not the key with which the operator 'demo' logs in" in said
    other = tmp_path / "other.json"
    keyfile.create(other, SoftwareKey.generate())
    said = await refused(profile, "--key-file", other, "site", "list")
    assert f"{other} is not the key with which the operator 'demo' logs in" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--scopes", "foo"], "people's scopes are admin, fleet:deploy, fleet:read, remedy:execute"),
        (["--scopes", "heartbeat:write"], "people's scopes are"),
        (["--scopes", ""], "people's scopes are"),
    ],
)
async def test_scopes_are_listed(profile: Path, tmp_path: Path, words: list[str], expected: str) -> None:
    key = tmp_path / "key.json"
    assert expected in await refused(profile, "operator", "add", "ann", "--key-out", key, *words)
    assert not list(tmp_path.iterdir())


async def test_names_and_versions_are_told_in_words(profile: Path, site: str, tmp_path: Path) -> None:
    said = await refused(profile, "operator", "add", "Bad Name", "--key-out", tmp_path / "key.json")
    assert "a name of lower-case letters, digits, dots and hyphens" in said
    said = await refused(profile, "device", "ship", "hw-x", "--site", site, "--name", "Kitchen 1")
    assert "a name of lower-case letters" in said
    said = await refused(profile, "site", "upgrade", site, "--to", "newest")
    assert "must be a version, such as 1.36.2" in said
    assert not list(tmp_path.iterdir())
