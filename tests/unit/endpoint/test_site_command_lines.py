"""`galley site ...`: what is wrong with the command line is said before the endpoint is asked."""

from __future__ import annotations

from typing import Any

import pytest

from cloud_endpoint.cli.__main__ import build_parser
from cloud_endpoint.cli.problems import BadInput
from cloud_endpoint.cli.sites import site_add

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
