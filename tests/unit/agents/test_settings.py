"""Settings: all errors at once, each with its path; precedence; environment; plain http off loopback."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
import pytest

from agents.core.errors import ConfigError
from agents.core.setting_words import choices
from agents.core.settings import Listener, NodeSettings, build, build_section, insecure, unbindable
from cloud_endpoint.settings import EndpointOwn
from edge_commander.settings import CommanderSettings
from heartbeat.settings import HeartbeatSettings
from synthetic_client.scenario import Scenario
from synthetic_client.settings import SyntheticSettings
from tools.settings_table import SECTIONS, STEPS
from vessel.settings import VesselSettings


class Atlas(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    url: str
    branch: str = "main"


class Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    poll_seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    atlas: Atlas | None = None
    names: list[str] = []
    health: Listener = Listener()


def problems(*documents: Any, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        files = [(f"file-{n}", document) for n, document in enumerate(documents)]
        build([("base", {"v": 1}), *files], environ, "vessel", Own)
    return caught.value.problems


def test_defaults_need_nothing() -> None:
    settings = build([], {}, "vessel", Own)
    assert settings.own == Own() and settings.endpoint is None
    assert settings.node.state_dir == "/var/lib/galley"


def test_all_errors_come_at_once_each_with_its_path() -> None:
    found = problems(
        {
            "v": 2,
            "kitchen": {},
            "node": {"log_level": "loud", "colour": "red"},
            "endpoint": {"urls": ["http://192.0.2.1"]},
            "vessel": {"poll_seconds": 0, "atlas": {"branch": 5}, "names": ["a", 3], "health": {"port": 70000}},
        },
        GALLEY_NONSENSE="1",
    )
    assert found == sorted(found)
    for path in (
        "GALLEY_NONSENSE: names no setting",
        "endpoint.issuer: is required",
        "kitchen: unknown section",
        "node.colour: unknown key",
        "node.log_level: ",
        "v: must be 1",
        "vessel.atlas.branch: expected `str`, got `int`",
        "vessel.atlas.url: is required",
        "vessel.health.port: ",
        "vessel.names[1]: expected `str`, got `int`",
        "vessel.poll_seconds: expected `float` > 0",
    ):
        assert any(problem.startswith(path) for problem in found), (path, found)


@pytest.mark.parametrize("document", ["text", 5, ["list"], True])
def test_a_document_or_a_section_that_is_no_mapping(document: Any) -> None:
    assert problems(document) == ["file-0: must be a mapping"]
    assert problems({"node": document}) == ["node: must be a mapping"]


def test_later_files_win_key_by_key_and_the_environment_wins_over_all() -> None:
    documents = [
        ("a", {"v": 1, "vessel": {"poll_seconds": 1, "names": ["a"], "atlas": {"url": "one"}}}),
        ("b", {"vessel": {"poll_seconds": 2, "atlas": {"branch": "main"}}}),
        ("c", None),
    ]
    settings = build(
        documents, {"GALLEY_VESSEL__NAMES": '["b"]', "GALLEY_VESSEL__ATLAS__BRANCH": "prod"}, "vessel", Own
    )
    assert settings.own == Own(poll_seconds=2, names=["b"], atlas=Atlas(url="one", branch="prod"))
    assert documents[0][1]["vessel"]["atlas"] == {"url": "one"}, "a later document does not leak into an earlier one"


def test_the_environment_is_json_where_it_is_json_else_text() -> None:
    environ = {"GALLEY_VESSEL__POLL_SECONDS": "2.5", "GALLEY_VESSEL__ATLAS": '{"url": "u"}', "OTHER": "x"}
    assert build([], environ, "vessel", Own).own == Own(poll_seconds=2.5, atlas=Atlas(url="u"))
    assert problems(GALLEY_VESSEL__POLL_SECONDS="soon") == ["vessel.poll_seconds: expected `float`, got `str`"]


def test_the_projects_own_tool_variables_are_no_settings() -> None:
    build([], {"GALLEY_CACHE": "x", "GALLEY_KUBE_BIN": "y"}, "vessel", Own)


def test_other_daemons_sections_are_not_judged_here() -> None:
    build([("a", {"v": 1, "heartbeat": {"whatever": 1}})], {}, "vessel", Own)


@pytest.mark.parametrize(
    "url",
    ["https://cloud.example", "http://127.0.0.1:8080", "http://127.77.1.2", "http://localhost/x", "http://[::1]:80"],
)
def test_addresses_that_may_be_used(url: str) -> None:
    assert insecure(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://cloud.example", "http://127.0.0.1.cloud.example", "http://127.0.0.1@192.0.2.1/", "http://10.0.0.1",
        "http://localhost.example", "ftp://127.0.0.1", "cloud.example", "",
    ],
)  # fmt: skip
def test_addresses_that_may_not(url: str) -> None:
    assert insecure(url)


@pytest.mark.parametrize(
    "url",
    ["https://[x", "https://[", "https://a..b:8443", "https://./", "https://a:99999", "https://a:b", "https://a b",
     "https://a.example\n", "https://a.exa\tmple", "https://a.example:8443/\u00a0"],
)  # fmt: skip
def test_what_is_no_address_at_all_is_said(url: str) -> None:
    assert insecure(url) == "is no address"
    assert insecure("https://:8443") == insecure("https:///x") == "names no host"
    assert insecure("https://a.example.:8443/x") == insecure("https://[2001:db8::1]:8443") == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://ann:hunter2@c.test", "must be without a name or password"),
        ("https://ann@c.test/galley", "must be without a name or password"),
        ("https://c.test/?site=1", "must be without ? and #"),
        ("https://c.test/#x", "must be without ? and #"),
    ],
)
def test_an_endpoint_at_which_nothing_can_be_asked_is_said(url: str, why: str) -> None:
    """With a name in it the first request with a token raised ValueError, and each daemon ended."""
    assert problems({"endpoint": {"urls": ["https://c.test/x", url], "issuer": "https://c.test"}}) == [
        f"endpoint.urls[1]: {why}"
    ]


def test_an_error_does_not_quote_a_value() -> None:
    assert "hunter2" not in "".join(problems({"vessel": {"atlas": {"url": ["hunter2"]}}}))


@pytest.mark.parametrize("version", [True, 1.0, "1", 2, None])
def test_the_version_is_the_number_one(version: Any) -> None:
    assert problems({"v": version}) == ["v: must be 1"]


@pytest.mark.parametrize("issuer", ["", "cloud.example", "http://cloud.example", "https://", "https://a b"])
def test_an_issuer_is_an_https_address(issuer: str) -> None:
    (found,) = problems({"endpoint": {"urls": ["https://c.test"], "issuer": issuer}})
    assert found.startswith("endpoint.issuer: ")


TLS = {"cert_file": "c", "key_file": "k"}


@pytest.mark.parametrize(
    ("section", "type_", "own", "port"),
    [
        ("vessel", VesselSettings, {}, 9401),
        ("heartbeat", HeartbeatSettings, {}, 9402),
        ("synthetic_client", SyntheticSettings, {"scenario": "s"}, 9403),
        ("edge_commander", CommanderSettings, {}, 9404),
        ("cloud_endpoint", EndpointOwn, {"tls": TLS, "issuer": "https://a"}, 8080),
    ],
)
def test_a_partial_health_section_keeps_the_daemons_own_port(
    section: str, type_: type[msgspec.Struct], own: dict[str, Any], port: int
) -> None:
    def health(given: dict[str, Any]) -> Any:
        settings = build([("f", {"v": 1, section: {**own, "health": given}})], {}, section, type_).own
        return getattr(settings, "own_port", None) or settings.health  # type: ignore[attr-defined]

    assert health({"bind": "127.0.0.2"}) == Listener(bind="127.0.0.2", port=port)
    assert health({}) == Listener(port=port)
    assert health({"port": 0}).port == 0
    with pytest.raises(ConfigError, match=r"health\.colour: unknown key"):
        health({"bind": "127.0.0.2", "colour": "red"})


@pytest.mark.parametrize("document", [None, {}, {"vessel": {"poll_seconds": 1}}])
def test_files_say_their_version_the_environment_alone_need_not(document: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        build([("f", document)], {"GALLEY_VESSEL__POLL_SECONDS": "5"}, "vessel", Own)
    assert caught.value.problems == ["v: is required (1)"]
    build([("f", document), ("drop-in", {"v": 1})], {}, "vessel", Own)
    assert build([], {"GALLEY_VESSEL__POLL_SECONDS": "5"}, "vessel", Own).own.poll_seconds == 5


@pytest.mark.parametrize(
    ("section", "type_", "own", "problem"),
    [
        ("vessel", VesselSettings, {"atlas": {"url": "u", "credential": "/etc/foo"}},
         "vessel.atlas.credential: must be none, endpoint or file:<path>"),
        ("vessel", VesselSettings, {"mode": "both"}, "vessel.mode: must be unit or pod"),
        ("edge_commander", CommanderSettings, {"roles": {"root": "vessel"}},
         "edge_commander.roles key: must be a user's number, in quotes"),
        ("cloud_endpoint", EndpointOwn, {"tls": TLS, "issuer": "http://a"},
         "cloud_endpoint.issuer: must be an address that begins with https://"),
    ],
)  # fmt: skip
def test_a_pattern_is_told_in_words(
    section: str, type_: type[msgspec.Struct], own: dict[str, Any], problem: str
) -> None:
    node = {"log_level": "loud"}
    with pytest.raises(ConfigError) as caught:
        build([("f", {"v": 1, "node": node, section: own})], {}, section, type_)
    assert set(caught.value.problems) == {problem, "node.log_level: must be debug, info, warning or error"}


@pytest.mark.parametrize(
    ("type_", "own", "problem"),
    [
        (VesselSettings, {"mode": "unit\n"}, "x.mode: must be unit or pod"),
        (VesselSettings, {"webhook_without_dry_run": "refuse\n"}, "x.webhook_without_dry_run: must be refuse or skip"),
        (NodeSettings, {"log_level": "info\n"}, "x.log_level: must be debug, info, warning or error"),
    ],
)
def test_a_word_with_the_line_end_of_a_block_is_not_that_word(
    type_: type[msgspec.Struct], own: dict[str, Any], problem: str
) -> None:
    """As YAML's `|` leaves it. In a pattern `$` holds before it too: `refuse` was taken for `skip`, and a log level of
    that kind ended each daemon at its start."""
    with pytest.raises(ConfigError) as caught:
        build_section([("f", {"x": own})], "x", type_)
    assert caught.value.problems == [problem]


def test_no_pattern_of_a_setting_holds_with_a_line_end_behind_it() -> None:
    patterns = {pattern for struct in {*SECTIONS.values(), *STEPS.values(), Scenario} for pattern in _patterns(struct)}
    assert len(patterns) > 20
    assert {one for one in patterns if not one.endswith(r"\Z")} == set()


def _patterns(hint: Any) -> Iterator[str]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        for inner in get_type_hints(hint, include_extras=True).values():
            yield from _patterns(inner)
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and note.pattern is not None:
            yield note.pattern
    for part in get_args(hint):
        yield from _patterns(part)


@pytest.mark.parametrize(
    "pattern", [r"^[a-z]+\Z", r"^(a)\Z", "(a|b)", r"^(a|[0-9])\Z", r"^(a|b.+)\Z", r"^(a|b)?\Z", r"^(a|b)\Z|^c\Z"]
)
def test_only_a_list_of_words_is_told_as_one(pattern: str) -> None:
    assert choices(pattern) == ""


@pytest.mark.parametrize(
    "bind", ["127.0.0.1", "0.0.0.0", "192.168.0.5", "::", "fe80::1%en0", "localhost", "node-1.example", "node.example."]
)  # fmt: skip
def test_where_a_server_may_listen(bind: str) -> None:
    assert unbindable(bind) == ""


@pytest.mark.parametrize(
    "bind",
    ["192.168..5", "192.168.5", "192.168.0.256", "192.168.0.5/24", "192.168.0.5:9401", "", ".", "a..b", "fe80::1%a\0b",
     "x" * 64, "a b", "-a", f"{'a.' * 127}a"],
)  # fmt: skip
def test_what_is_no_place_to_listen_is_told_with_all_else(bind: str) -> None:
    """The lookup of such a name raises what is no OSError: the daemon ended with a traceback, at each start."""
    found = problems({"vessel": {"poll_seconds": 0, "health": {"bind": bind}}})
    assert [one.partition(": ")[0] for one in found] == ["vessel.health.bind", "vessel.poll_seconds"]
    assert found[0].endswith(
        "must be an address of this machine, as 192.0.2.11 (0.0.0.0 is all of them), or a host name"
    )


@pytest.mark.parametrize(
    ("section", "type_", "port"),
    [
        ("vessel", VesselSettings, "health"), ("heartbeat", HeartbeatSettings, "health"),
        ("synthetic_client", SyntheticSettings, "health"), ("edge_commander", CommanderSettings, "health"),
        ("edge_commander", CommanderSettings, "siblings"), ("edge_commander", CommanderSettings, "page"),
        ("cloud_endpoint", EndpointOwn, "health"), ("cloud_endpoint", EndpointOwn, "tls"),
    ],
)  # fmt: skip
def test_every_servers_place_is_judged(section: str, type_: type[msgspec.Struct], port: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build([("base", {"v": 1, section: {port: {"bind": "192.168..5"}}})], {}, section, type_)
    assert any(one.startswith(f"{section}.{port}.bind: must be an address") for one in caught.value.problems)
