"""Which connections go through the site's HTTP proxy, and what its setting may be."""

from __future__ import annotations

import pytest

from agents.core.errors import ConfigError
from agents.core.proxy import environment, through
from agents.core.settings import EndpointSettings, NodeSettings, build, build_section

GOOD = {"urls": ["https://cloud.example"], "issuer": "https://cloud.example"}
PROXY = "http://proxy.example:3128"


def endpoint(**more: object) -> EndpointSettings:
    return build_section([("galley.yaml", {"v": 1, "endpoint": {**GOOD, **more}})], "endpoint", EndpointSettings)


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://cloud.example/v1", True),
        ("https://cloud.example:8443", True),
        ("https://git.site.example/a.git", False),
        ("https://site.example", False),
        ("https://mysite.example", True),
        ("https://10.1.2.3", False),
        ("https://11.1.2.3", True),
        ("https://LOCALHOST:8443", False),
        ("http://127.0.0.9:1", False),
        ("https://[::1]:8443", False),
        ("file:///srv/atlas.git", False),
    ],
)
def test_a_host_goes_by_it_unless_it_is_spared(url: str, goes: bool) -> None:
    settings = endpoint(proxy=PROXY, no_proxy=[".Site.example", "10.0.0.0/8"])
    assert through(settings, url) == (PROXY if goes else None)
    assert through(endpoint(), url) is None and through(None, url) is None


@pytest.mark.parametrize(
    ("url", "goes"),
    [
        ("https://git.wild.example", False),
        ("https://wild.example.org", True),
        ("https://registry.lan:5000/v2/", False),
        ("https://registry.lan", True),
        ("https://plain.lan", False),
        ("https://plain.lan:8443", True),
        ("https://192.0.2.7:6443", False),
        ("https://192.0.2.7", True),
        ("https://[2001:db8::5]", False),
        ("https://registry.lan:nonsense", True),
    ],
)
def test_what_containerd_spares_by_a_wildcard_or_a_port_is_spared_here_too(url: str, goes: bool) -> None:
    never = ["*.wild.example", "registry.lan:5000", "plain.lan:443", "192.0.2.7:6443", "2001:db8::5", "*."]
    assert through(endpoint(proxy=PROXY, no_proxy=never), url) == (PROXY if goes else None)


def test_all_can_be_spared() -> None:
    assert through(endpoint(proxy=PROXY, no_proxy=["*"]), "https://cloud.example") is None


@pytest.mark.parametrize(
    "text",
    [
        "proxy:3128",
        "https://proxy:3128",
        "http://ann:secret@proxy:3128",
        "http://proxy/path",
        "http://",
        "http://a b",
        "http://proxy:3128\n",
    ],
)
def test_what_is_no_address_of_a_proxy_is_refused_and_no_password_is_shown(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        endpoint(proxy=text)
    (problem,) = caught.value.problems
    assert "endpoint.proxy" in problem and "secret" not in problem


@pytest.mark.parametrize("text", ["http://proxy:99999", "http://proxy:0", "http://[::::]:3128"])
def test_a_place_that_cannot_be_is_refused(text: str) -> None:
    """containerd's pulls went around such a proxy, and the uplink failed for ever without a word about the settings."""
    with pytest.raises(ConfigError) as caught:
        build([("galley.yaml", {"v": 1, "endpoint": {**GOOD, "proxy": text}})], {}, "node", NodeSettings)
    assert [one.partition(":")[0] for one in caught.value.problems] == ["endpoint.proxy"]


def test_a_host_to_be_spared_is_one_line() -> None:
    with pytest.raises(ConfigError):
        endpoint(proxy=PROXY, no_proxy=["git.example\n", "atlas.example"])


def test_programs_get_the_same_by_their_environment() -> None:
    assert environment(endpoint()) == {}
    told = environment(endpoint(proxy=PROXY, no_proxy=["git.example"]))
    assert told["HTTPS_PROXY"] == told["HTTP_PROXY"] == PROXY
    assert told["NO_PROXY"].split(",") == ["localhost", "127.0.0.0/8", "::1", "git.example"]
