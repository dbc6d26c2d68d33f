"""A scenario: what to try, how often, and what a good answer is. Types and the checks on them. Pure.

`check` takes the parsed document and the line of each of its paths (see reading) and names every problem at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, get_args
from urllib.parse import urlsplit

import msgspec

from agents.core.settings import insecure

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?\Z")]
Timeout = Annotated[float, msgspec.Meta(gt=0, le=300)]
Status = Annotated[int, msgspec.Meta(ge=100, le=599)]
Url = Annotated[str, msgspec.Meta(max_length=2048)]
Path_ = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]

MAX_STEPS = 100


class _Step(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    timeout_seconds: Timeout = 5.0


class Http(_Step, frozen=True, kw_only=True, tag="http", tag_field="type"):
    """GET or HEAD on a URL. `status`: the good ones. `body_contains`: text in the first MiB of the body.

    Redirects are not followed (name the 3xx as `status` to want one). `ca_file`: PEM, else the system's store.
    """

    url: Url
    method: Annotated[str, msgspec.Meta(pattern=r"^(GET|HEAD)\Z")] = "GET"
    status: Annotated[list[Status], msgspec.Meta(min_length=1, max_length=20)] = msgspec.field(
        default_factory=lambda: [200]
    )
    body_contains: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    ca_file: Path_ | None = None


class Kubernetes(_Step, frozen=True, kw_only=True, tag="kubernetes", tag_field="type"):
    """Writes, reads and deletes a ConfigMap. `kubeconfig`: a file, else the pod's own account."""

    namespace: Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")] = "galley-synthetic"
    kubeconfig: Path_ | None = None


class Cloud(_Step, frozen=True, kw_only=True, tag="cloud", tag_field="type"):
    """Sends random bytes to the cloud endpoint's echo with this role's token, and compares."""

    bytes: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 64


class Mqtt(_Step, frozen=True, kw_only=True, tag="mqtt", tag_field="type"):
    """Publishes to a topic of its own and waits until it is received (MQTT 5, QoS 1).

    `topic_prefix` may hold `{site}` and `{node}`. Without TLS no password leaves loopback.
    """

    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9.:-]{1,253}\Z")]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 1883
    username: Annotated[str, msgspec.Meta(max_length=256)] = ""
    password_file: Path_ | None = None
    tls: bool = False
    ca_file: Path_ | None = None
    topic_prefix: Annotated[str, msgspec.Meta(min_length=1, max_length=512)] = "sites/{site}/synthetic/{node}"


Step = Http | Kubernetes | Cloud | Mqtt
TYPES: dict[str, type[Any]] = {kind.__struct_config__.tag: kind for kind in get_args(Step)}


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`v: 1`. Each step runs every `interval_seconds`; one report each `report_seconds`. Times in s."""

    v: int = 1
    scenario: Name
    interval_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=86400)]
    report_seconds: Annotated[float, msgspec.Meta(ge=1, le=86400)]
    steps: Annotated[list[Step], msgspec.Meta(min_length=1, max_length=MAX_STEPS)]

    KEYS: ClassVar[tuple[str, ...]] = ("v", "scenario", "interval_seconds", "report_seconds", "steps")


class BadScenario(ValueError):
    """The scenario is wrong; `problems` names each as `file:line: path: cause`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def check(document: Any, lines: Mapping[str, int], file: str) -> Scenario:
    """The checked scenario; raises BadScenario with all problems, in the order of their lines."""
    found: list[tuple[str, str]] = []
    if not isinstance(document, dict):
        raise BadScenario([f"{file}: must be a mapping with v, scenario, interval_seconds, report_seconds, steps"])
    _check_top(document, found)
    steps = document.get("steps")
    if isinstance(steps, list):
        for index, step in enumerate(steps):
            _check_step(step, f"steps[{index}]", document.get("interval_seconds"), found)
        _check_names(steps, found)
    if found:
        placed = sorted(((_line(path, lines), path, cause) for path, cause in found), key=lambda entry: entry[:2])
        raise BadScenario([f"{file}:{line}: {path}: {cause}" for line, path, cause in placed])
    return msgspec.convert(document, Scenario)


def _check_top(document: dict[str, Any], found: list[tuple[str, str]]) -> None:
    found += [(str(key), "unknown key") for key in document if key not in Scenario.KEYS]
    hints = {field.name: field.type for field in msgspec.structs.fields(Scenario)}
    for key in Scenario.KEYS:
        if key not in document:
            found.append((key, "is required"))
        elif key == "v":
            if document["v"] != 1 or isinstance(document["v"], bool):
                found.append(("v", "must be 1"))
        elif key == "steps":
            _check_list(document["steps"], found)
        else:
            _convert(document[key], hints[key], key, found)


def _check_list(steps: Any, found: list[tuple[str, str]]) -> None:
    if not isinstance(steps, list) or not steps:
        found.append(("steps", "must be a list of at least one step"))
    elif len(steps) > MAX_STEPS:
        found.append(("steps", f"holds {len(steps)} steps, more than {MAX_STEPS}"))


def _check_step(step: Any, path: str, interval: Any, found: list[tuple[str, str]]) -> None:
    if not isinstance(step, dict):
        found.append((path, "must be a mapping"))
        return
    kind = TYPES.get(step["type"]) if isinstance(step.get("type"), str) else None
    if kind is None:
        found.append((f"{path}.type" if "type" in step else path, f"type must be one of {', '.join(TYPES)}"))
        return
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    found += [(f"{path}.{key}", "unknown key") for key in step if key not in fields and key != "type"]
    for name, field in fields.items():
        if name in step:
            _convert(step[name], field.type, f"{path}.{name}", found)
        elif field.required:
            found.append((f"{path}.{name}", "is required"))
    timeout = step.get("timeout_seconds", 5.0)
    if _number(timeout) and _number(interval) and timeout > interval > 0:
        found.append((f"{path}.timeout_seconds", f"{timeout:g} s is longer than the interval of {interval:g} s"))
    if kind is Http:
        _check_http(step, path, found)
    elif kind is Mqtt:
        _check_mqtt(step, path, found)


def _check_http(step: dict[str, Any], path: str, found: list[tuple[str, str]]) -> None:
    url = step.get("url")
    if not isinstance(url, str):
        return
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        found.append((f"{path}.url", "must be an http:// or https:// address"))
    elif parts.username is not None or parts.password is not None:
        found.append((f"{path}.url", "must not hold credentials"))
    if step.get("method") == "HEAD" and step.get("body_contains"):
        found.append((f"{path}.body_contains", "HEAD has no body"))


def _check_mqtt(step: dict[str, Any], path: str, found: list[tuple[str, str]]) -> None:
    prefix, host = step.get("topic_prefix", ""), step.get("host", "")
    if isinstance(prefix, str):
        rest = prefix.replace("{site}", "").replace("{node}", "")
        if re.search(r"[{}#+\x00]", rest) or prefix.startswith(("$", "/")) or prefix.endswith("/"):
            found.append((f"{path}.topic_prefix", "must be plain levels, {site} and {node}; no wildcards, no $"))
        elif "topic_prefix" in step and "{site}" not in prefix:
            found.append((f"{path}.topic_prefix", "must hold {site}"))
    if step.get("password_file") and not step.get("username"):
        found.append((f"{path}.username", "is required with password_file"))
    if step.get("password_file") and step.get("tls") is not True and isinstance(host, str) and _far(host):
        found.append((f"{path}.tls", "must be true: no password leaves loopback without TLS"))
    if step.get("ca_file") and step.get("tls") is not True:
        found.append((f"{path}.ca_file", "has no meaning without tls: true"))


def _far(host: str) -> bool:
    return bool(insecure(f"http://[{host}]" if ":" in host else f"http://{host}"))


def _check_names(steps: list[Any], found: list[tuple[str, str]]) -> None:
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        name = step.get("name") if isinstance(step, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            found.append((f"steps[{index}].name", f"{name!r} is the name of steps[{first[name]}] too"))


def _convert(value: Any, hint: Any, path: str, found: list[tuple[str, str]]) -> None:
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        cause, _, inner = str(error).partition(" - at `$")
        found.append((path + inner.rstrip("`"), cause[:1].lower() + cause[1:]))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(path: str, lines: Mapping[str, int]) -> int:
    """The line of the path, or of the nearest thing around it."""
    while path and path not in lines:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path, 1)
