"""Scenarios: what a good one becomes, and the table of bad ones: all errors at once, with line and path."""

import pytest

from synthetic_client.reading import read_scenario, read_text
from synthetic_client.scenario import BadScenario, Cloud, Http, Kubernetes, Mqtt

GOOD = b"""\
v: 1
scenario: restaurant
interval_seconds: 15
report_seconds: 60
steps:
  - name: till
    type: http
    url: http://till.web.svc:8080/healthz
    status: [200, 204]
    body_contains: ok
    timeout_seconds: 3
  - {name: api, type: kubernetes}
  - {name: cloud, type: cloud, bytes: 128}
  - name: bus
    type: mqtt
    host: 127.0.0.1
    port: 1883
    username: client
    password_file: /etc/galley/mqtt
"""
HEAD = b"v: 1\nscenario: s\ninterval_seconds: 10\nreport_seconds: 60\n"


def problems(text):
    with pytest.raises(BadScenario) as caught:
        read_text(text, "s.yaml")
    return caught.value.problems


def step(line):
    return problems(HEAD + b"steps:\n  - " + line + b"\n")


def test_a_good_scenario():
    scenario = read_text(GOOD, "s.yaml")
    assert [type(one) for one in scenario.steps] == [Http, Kubernetes, Cloud, Mqtt]
    assert scenario.steps[0].status == [200, 204] and scenario.steps[1].timeout_seconds == 5.0
    assert scenario.steps[3].topic_prefix == "sites/{site}/synthetic/{node}"


def test_all_errors_at_once_in_the_order_of_their_lines():
    text = b"""\
v: 2
scenario: Has Spaces
interval_seconds: 0
steps:
  - name: a
    type: http
    url: ftp://x
    colour: red
  - name: a
    type: cloud
    bytes: many
  - type: telepathy
surprise: 1
"""
    assert problems(text) == [
        "s.yaml:1: report_seconds: is required",
        "s.yaml:1: v: must be 1",
        "s.yaml:2: scenario: expected `str` matching regex '^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\\\\Z'",
        "s.yaml:3: interval_seconds: expected `float` >= 0.1",
        "s.yaml:7: steps[0].url: must be an http:// or https:// address",
        "s.yaml:8: steps[0].colour: unknown key",
        "s.yaml:9: steps[1].name: 'a' is the name of steps[0] too",
        "s.yaml:11: steps[1].bytes: expected `int`, got `str`",
        "s.yaml:12: steps[2].type: type must be one of http, kubernetes, cloud, mqtt",
        "s.yaml:13: surprise: unknown key",
    ]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "s.yaml: must be a mapping"),
        (b"- 1", "s.yaml: must be a mapping"),
        (b"v: 1\nv: 1\n", "s.yaml:2: duplicate key 'v'"),
        (b"a: &x [1]\nb: *x\n", "s.yaml:2: aliases are refused"),
        (b"v: [1\n", "s.yaml:"),
        (b"\xff\xfe\x00", "s.yaml"),
        (b"v: 1\n---\nv: 1\n", "s.yaml"),
        (HEAD + b"steps: []\n", "s.yaml:5: steps: must be a list of at least one step"),
        (HEAD + b"steps: {}\n", "s.yaml:5: steps: must be a list of at least one step"),
        (HEAD + b"steps:\n  - 7\n", "s.yaml:6: steps[0]: must be a mapping"),
        (HEAD.replace(b"v: 1", b"v: true") + b"steps: [{name: c, type: cloud}]\n", "s.yaml:1: v: must be 1"),
    ],
)
def test_bad_documents(text, cause):
    assert problems(text)[0].startswith(cause)


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"{name: x, type: http}", "steps[0].url: is required"),
        (b"{name: x, type: http, url: 'http://u:p@h/'}", "steps[0].url: must not hold credentials"),
        (b"{name: x, type: http, url: 'http://[::1/'}", "steps[0].url: must be an http:// or https:// address"),
        (b"{name: x, type: http, url: 'http://h/', status: 200}", "steps[0].status: expected `array`, got `int`"),
        (b"{name: x, type: http, url: 'http://h/', status: [99]}", "steps[0].status[0]: expected `int` >= 100"),
        (b"{name: x, type: http, url: 'http://h/', method: POST}", "steps[0].method: expected"),
        (b"{name: x, type: http, url: 'http://h/', method: HEAD, body_contains: x}", "steps[0].body_contains: HEAD"),
        (b"{name: x, type: http, url: 'http://h/', timeout_seconds: 11}", "steps[0].timeout_seconds: 11 s is longer"),
        (b"{name: x, type: kubernetes, namespace: Not_one}", "steps[0].namespace: expected"),
        (b"{name: x, type: mqtt, host: h, password: secret}", "steps[0].password: unknown key"),
        (b"{name: x, type: mqtt, host: h, port: 0}", "steps[0].port: expected `int` >= 1"),
        (b"{name: x, type: mqtt, host: h, topic_prefix: 'a/#'}", "steps[0].topic_prefix: must be plain levels"),
        (b"{name: x, type: mqtt, host: h, topic_prefix: 'fixed'}", "steps[0].topic_prefix: must hold {site}"),
        (b"{name: x, type: mqtt, host: h, username: u, password_file: /p}", "steps[0].tls: must be true: no password"),
        (b"{name: x, type: mqtt, host: localhost, password_file: /p}", "steps[0].username: is required"),
        (b"{name: x, type: mqtt, host: localhost, ca_file: /c}", "steps[0].ca_file: has no meaning"),
        (b"{name: -x, type: cloud}", "steps[0].name: expected"),
        (b"{type: cloud}", "steps[0].name: is required"),
        (b"{name: x}", "steps[0]: type must be one of"),
        (b"{name: x, type: [http]}", "steps[0].type: type must be one of"),
    ],
)
def test_bad_steps(line, cause):
    found = step(line)
    assert len(found) == 1 and found[0].startswith(f"s.yaml:6: {cause}")
    assert "secret" not in found[0]


def test_a_missing_and_an_oversized_file(tmp_path):
    with pytest.raises(BadScenario, match="cannot be read: No such file"):
        read_scenario(tmp_path / "none.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_100_000)
    with pytest.raises(BadScenario, match="larger than"):
        read_scenario(tmp_path / "big.yaml")
