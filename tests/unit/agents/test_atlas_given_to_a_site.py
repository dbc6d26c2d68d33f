"""Which Atlas an operator may give to a site: only one that Vessel would follow there."""

from __future__ import annotations

import pytest

from agents.contracts.identity import AtlasSource
from agents.core.atlas import wrong_assigned

GOOD = "https://git.example/store-00001.git"


@pytest.mark.parametrize(
    "fields",
    [
        {"url": GOOD},
        {"url": "http://127.0.0.1:8080/atlas.git", "branch": "release/2", "credential": "endpoint"},
        {"url": GOOD, "path": "sites/store-00001"},
        {"url": GOOD, "path": ""},
    ],
)
def test_what_vessel_follows_is_taken(fields: dict[str, str]) -> None:
    assert wrong_assigned(AtlasSource(**fields)) == {}


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"url": "notaurl"}, "url", "must begin with https://"),
        ({"url": ""}, "url", "must begin with https://"),
        ({"url": "git@git.example:atlas.git"}, "url", "must begin with https://"),
        ({"url": "file:///srv/atlas.git"}, "url", "a node's own galley.yaml may name a file"),
        ({"url": "https://"}, "url", "names no host"),
        ({"url": "http://git.example/a.git"}, "url", "plain http is refused off loopback"),
        ({"url": GOOD + "\n"}, "url", "is no address"),
        ({"url": "https://bot:secret@git.example/a.git"}, "url", "holds a credential"),
        ({"url": GOOD, "branch": "a..b"}, "branch", "is not a branch's name"),
        ({"url": GOOD, "branch": "main\n"}, "branch", "is not a branch's name"),
        ({"url": GOOD, "path": "/etc"}, "path", "must be a directory in the repository"),
        ({"url": GOOD, "path": "a/../../b"}, "path", "must be a directory in the repository"),
        ({"url": GOOD, "credential": "bogus"}, "credential", "must be none or endpoint"),
        ({"url": GOOD, "credential": "endpoint\n"}, "credential", "must be none or endpoint"),
        ({"url": GOOD, "credential": "file:/etc/galley/git"}, "credential", "a node's own galley.yaml may name a file"),
    ],
)
def test_what_it_would_refuse_is_named_by_field(fields: dict[str, str], field: str, words: str) -> None:
    wrong = wrong_assigned(AtlasSource(**fields))
    assert list(wrong) == [field] and words in wrong[field] and "secret" not in wrong[field]


def test_all_that_is_wrong_comes_at_once() -> None:
    assert set(wrong_assigned(AtlasSource(url="x", branch="", path="..", credential=""))) == {
        "url",
        "branch",
        "path",
        "credential",
    }
