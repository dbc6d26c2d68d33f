"""`galley site ...`: what is wrong with the command line is said before the endpoint is asked."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from agents.contracts.identity import AtlasSource
from cloud_endpoint.cli.__main__ import build_parser, show
from cloud_endpoint.cli.diagnostics import meant
from cloud_endpoint.cli.problems import BadInput
from cloud_endpoint.cli.sites import site_add
from cloud_endpoint.records import (
    AlertRecord,
    DeploymentRecord,
    GrantRecord,
    NodeRecord,
    SiteRecord,
    SiteView,
    WipeGrantRecord,
)

URL = "https://git.example/store-00001.git"


class Endpoint:
    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append((method, path, body))
        return {}


async def added(*flags: str) -> Any:
    endpoint = Endpoint()
    await site_add(endpoint, build_parser().parse_args(["site", "add", "store-00001", *flags]))  # type: ignore[arg-type]
    return endpoint.asked[0][2]["atlas"]


@pytest.mark.parametrize(
    ("flags", "problems"),
    [
        (["--atlas-url", "notaurl"], ["--atlas-url: must begin with https://"]),
        (["--atlas-url", ""], ["--atlas-url: must begin with https://"]),
        (["--atlas-url", URL, "--atlas-credential", "bogus"], ["--atlas-credential: must be none or endpoint"]),
        (["--atlas-credential", "endpoint"], ["--atlas-credential needs --atlas-url"]),
        (["--atlas-url", "x", "--atlas-branch", ".."], ["--atlas-branch: '..' is not", "--atlas-url: must begin"]),
    ],
)
async def test_a_wrong_atlas_is_named_by_its_flags(flags: list[str], problems: list[str]) -> None:
    with pytest.raises(BadInput) as refused:
        await added(*flags)
    found = sorted(refused.value.problems)
    assert len(found) == len(problems)
    assert all(one.startswith(start) for one, start in zip(found, problems, strict=True))


async def test_a_right_one_is_sent_whole_and_none_is_none() -> None:
    source = {"url": URL, "branch": "main", "path": ".", "credential": "none"}
    assert await added("--atlas-url", URL) == source
    assert await added("--atlas-url", URL, "--atlas-credential", "endpoint") == source | {"credential": "endpoint"}
    assert await added() is None


@pytest.mark.parametrize(
    "words",
    [
        ["site", "add", "Store 1"],
        ["site", "show", ".."],
        ["site", "wipe-release", "a/b"],
        ["node", "list", "--site", "Store 1"],
        ["device", "ship", "NUC-1", "--name", "nuc-1", "--site", ""],
        ["epoch", "authorise", "Store 1", "--epoch", "2", "--key", "k"],
    ],
)
def test_what_is_no_sites_id_says_what_one_is_made_of(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(words)
    assert ended.value.code == 2
    assert "lower-case letters, digits and hyphens" in capsys.readouterr().err


def test_what_is_no_nodes_id_says_where_they_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["node", "diagnostics", "nuc-1"])
    assert "galley node list" in capsys.readouterr().err


NODE = NodeRecord(
    node="n-abcdefghijklmnop", site="store-00001", name="nuc-1", address="", status="enrolled",
    beat_ms=1_700_000_000_000, state={"state": "ready"},
)  # fmt: skip
SITE = SiteRecord(site="store-00001", labels={"ring": "1"}, atlas=AtlasSource(url=URL), generation=3)
VIEW = SiteView(
    site=SITE,
    nodes=[NODE, structs.replace(NODE, name="nuc-2", status="revoked", beat_ms=None, state=None)],
    deployments=[
        DeploymentRecord(site="store-00001", app="pos", node="n", t=1, received_ms=1,
                         body={"phase": "healthy", "revision": "4f" * 20}),
    ],
    synthetics=[],
    alerts=[
        AlertRecord(id=1, site="s", node="n", code="disk-full", severity="critical", text="\x1b[2J97 %", source="node",
                    first_ms=1, last_ms=1_700_000_000_000, count=2),
    ],
    grants=[GrantRecord(site="store-00001", epoch=1, node=NODE.node, kid="k", granted_ms=1, begun_ms=2)],
    wipe_grant=WipeGrantRecord(site="store-00001", node=NODE.node, command_id="c", granted_ms=1_700_000_000_000),
)  # fmt: skip


def lines(view: SiteView, *flags: str) -> list[str]:
    options = build_parser().parse_args(["site", "show", "store-00001", *flags])
    return show(options.command, options, msgspec.to_builtins(view)).splitlines()


def test_a_site_is_shown_as_a_table_and_whole_as_json() -> None:
    assert [" ".join(line.split()) for line in lines(VIEW)] == [
        "WHAT NAME STATE MORE",
        "site store-00001 ring=1 generation 3, epoch 1, election cloud",
        f"atlas {URL} - branch main, folder ., credential none",
        "init_grant n-abcdefghijklmnop begun epoch 1",
        "wipe_grant n-abcdefghijklmnop held since 2023-11-14T22:13:20Z",
        "node nuc-1 ready n-abcdefghijklmnop, last beat 2023-11-14T22:13:20Z",
        "node nuc-2 revoked n-abcdefghijklmnop, never heard",
        "app pos healthy at 4f4f4f4f4f4f",
        "alert disk-full critical 2 times, last 2023-11-14T22:13:20Z: \ufffd[2J97 %",
    ]
    assert msgspec.json.decode("\n".join(lines(VIEW, "--output", "json")), type=SiteView) == VIEW
    empty = SiteView(site=SiteRecord(site="store-00001"), nodes=[], deployments=[], synthetics=[], alerts=[])
    assert len(lines(empty)) == 2


def test_a_site_that_was_made_is_one_line() -> None:
    options = build_parser().parse_args(["site", "add", "store-00001"])
    head, line = show(options.command, options, msgspec.to_builtins(SITE)).splitlines()
    assert head.split()[:3] == ["SITE", "GENERATION", "EPOCH"]
    assert line.split() == ["store-00001", "3", "1", "cloud", "ring=1", URL, "main", "none"]


def test_a_node_without_its_root_half_says_which_unit_to_look_at() -> None:
    said = meant("/run/galley/machine.sock: FileNotFoundError")
    assert said.startswith("galley-machine.socket, which collects it, does not answer on the node")
    assert "systemctl status galley-machine.socket" in said
    assert meant("3 MiB are free, a bundle needs 64") == "3 MiB are free, a bundle needs 64"
