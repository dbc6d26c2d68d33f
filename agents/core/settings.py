"""The shared sections of `galley.yaml`, and how documents and environment become checked settings. Pure.

Precedence: `/etc/galley/galley.yaml`, then `/etc/galley/galley.d/*.yaml` in name order, then the environment
(`GALLEY_VESSEL__POLL_SECONDS=5`). All errors are collected, each with its path.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from agents.core.errors import ConfigError
from agents.core.setting_words import patterns_of, words_of

S = TypeVar("S", bound=msgspec.Struct)

SECTIONS = (
    "node", "endpoint", "vessel", "heartbeat", "synthetic_client", "edge_commander", "cloud_endpoint", "machine",
)  # fmt: skip
ENV_PREFIX = "GALLEY_"
NOT_SETTINGS = frozenset({"GALLEY_CACHE", "GALLEY_KUBE_BIN"})
"""Environment variables of the project's own tools that are no settings."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Issuer = Annotated[
    str, msgspec.Meta(pattern=r"^https://[^\s]+\Z", description="must be an address that begins with https://")
]
Proxy = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^http://([0-9A-Za-z][0-9A-Za-z.-]{0,252}|\[[0-9A-Fa-f:]{2,39}\])(:[0-9]{1,5})?/?\Z",
        description="must be http://host:port, without a name or password",
    ),
]
Unproxied = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9A-Za-z.:/*-]{1,253}\Z", description="must be a host, a domain, a network or *")
]
Positive = Annotated[float, msgspec.Meta(gt=0)]
_LABELS = re.compile(
    r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?(\.[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?)*\.?"
)
_LAST_STEP = re.compile(r"(\.[^.\[\]]*|\[[^\[\]]*\])\Z")
_ZONE = re.compile(r"[0-9A-Za-z._-]{1,15}")


def address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """None for what is none, or has a zone that is no interface's name: the library takes any text behind a `%`, a new
    line of the file that is made of it too."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    zone = found.scope_id if isinstance(found, ipaddress.IPv6Address) else None
    return found if zone is None or _ZONE.fullmatch(zone) else None


def unbindable(text: str) -> str:
    """Why nothing can listen there; empty where it may be tried. What is no address and no name, as `192.168..5`, would
    end a daemon where it is looked up; a name whose last part is a number is a mistyped address (RFC 1123, 2.1)."""
    if address(text) is not None:
        return ""
    last = text.removesuffix(".").rpartition(".")[2]
    if len(text) <= 253 and _LABELS.fullmatch(text) is not None and not last.isdigit():
        return ""
    return "must be an address of this machine, as 192.0.2.11 (0.0.0.0 is all of them), or a host name"


Bind = Annotated[str, msgspec.Meta(extra={"why_not": unbindable})]
"""Where a server listens. `why_not` judges what no pattern says: it gets the value, and its text is the problem."""


class Listener(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a health and metrics port listens. Port 0 turns it off."""

    bind: Bind = "127.0.0.1"
    port: Port = 0


class NodeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`node:`. `machine`: `host`, or `file:<path>` of a JSON file with MachineFacts' fields."""

    machine: str = "host"
    state_dir: str = "/var/lib/galley"
    run_dir: str = "/run/galley"
    log_level: Annotated[str, msgspec.Meta(pattern=r"^(debug|info|warning|error)\Z")] = "info"


class EndpointSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`endpoint:`. `urls` in order of preference; `issuer`: the fixed URL that `aud` must be; `ca_file`: PEM.
    `proxy`: the site's HTTP proxy, for the endpoint, the Atlas, updates and image registries; `no_proxy`: hosts,
    domains and networks that are reached without it. Siblings and the cluster are never reached by it.
    """

    urls: Annotated[list[str], msgspec.Meta(min_length=1)]
    issuer: Issuer
    ca_file: str | None = None
    proxy: Proxy | None = None
    no_proxy: Annotated[list[Unproxied], msgspec.Meta(max_length=32)] = []


@dataclass(frozen=True)
class Settings(Generic[S]):
    """What a daemon gets: the shared sections and its own. `endpoint` is None where the daemon runs alone."""

    node: NodeSettings
    endpoint: EndpointSettings | None
    own: S


def build(
    documents: Iterable[tuple[str, Any]], environ: Mapping[str, str], section: str, type_: type[S]
) -> Settings[S]:
    """Merges `(name, document)` pairs and the environment, and checks all of it. Raises ConfigError, whose `sound` is
    Settings with what is right by its types: `own` may be None there, and `endpoint` a stand-in for a wrong one."""
    problems: list[str] = []
    merged: dict[str, Any] = {}
    files = list(documents)
    for name, document in files:
        _merge_document(merged, name, document, problems)
    if files and not problems and "v" not in merged:  # one of them says it for all: the drop-ins need not
        problems.append("v: is required (1)")
    _merge_environment(merged, environ, problems)
    version = merged.pop("v", 1)
    if type(version) is not int or version != 1:  # `true` and 1.0 equal 1 in Python
        problems.append("v: must be 1")
    problems += [f"{key}: unknown section" for key in merged if key not in SECTIONS]
    node = _convert(merged.get("node", {}), NodeSettings, "node", problems)
    endpoint = None
    if merged.get("endpoint") is not None:
        endpoint = _convert(merged["endpoint"], EndpointSettings, "endpoint", problems)
    own = _convert(_filled(merged.get(section) or {}, type_), type_, section, problems)
    if endpoint is not None:
        problems += [f"endpoint.urls[{i}]: {why}" for i, url in enumerate(endpoint.urls) if (why := _no_endpoint(url))]
        if endpoint.proxy is not None and not _has_port(endpoint.proxy):
            problems.append("endpoint.proxy: names no host and port that there can be")
    if problems:
        shared = endpoint or _stand_in(merged.get("endpoint"))
        sound: Settings[Any] = Settings(node=node or NodeSettings(), endpoint=shared, own=own)
        raise ConfigError(sorted(set(problems)), sound)
    assert node is not None and own is not None
    return Settings(node=node, endpoint=endpoint, own=own)


def _stand_in(section: Any) -> EndpointSettings | None:
    """For an endpoint that is wrong, to judge what it names and what needs one; None where none is meant."""
    if section is None:
        return None
    file = section.get("ca_file") if isinstance(section, dict) else None
    nowhere = "https://endpoint.invalid"
    return EndpointSettings(urls=[nowhere], issuer=nowhere, ca_file=file if isinstance(file, str) else None)


def placed(
    problem: str,
    documents: Sequence[tuple[str, Any]],
    environ: Mapping[str, str],
    lines: Callable[[str], Mapping[str, int]] = lambda _: {},
) -> str:
    """A problem of `build` with what it stands in before it: the variable that sets it, else the last file that does,
    else, where it is missing everywhere, the first. `lines`: of each path in the file of that name, for its line."""
    path = re.sub(r"\[\d+\].*", "", problem.partition(":")[0]).split(".")
    variable = f"{ENV_PREFIX}{'__'.join(path).upper()}"
    if not documents or problem.startswith(ENV_PREFIX) or any(problem.startswith(name) for name, _ in documents):
        return problem
    if variable in environ:
        return f"{variable}: {problem}"
    depths = [_depth(document, path) for _, document in documents]
    deepest = max(depths)
    last = max(i for i, depth in enumerate(depths) if depth == deepest) if deepest else 0
    name = documents[last][0]
    line = line_of(problem, lines(name))
    return f"{name}:{line}: {problem}" if line else f"{name}: {problem}"


def line_of(problem: str, lines: Mapping[str, int]) -> int:
    """Where the path that a problem begins with stands, or else what is to hold it; 0 where that is nowhere."""
    path = problem.partition(":")[0].split(" ")[0]
    while path:
        if path in lines:
            return lines[path]
        path = _LAST_STEP.sub("", path) if _LAST_STEP.search(path) else ""
    return 0


def _depth(document: Any, path: Sequence[str]) -> int:
    """How many steps of a path a document holds."""
    for depth, key in enumerate(path):
        if not isinstance(document, dict) or key not in document:
            return depth
        document = document[key]
    return len(path)


def build_section(documents: Iterable[tuple[str, Any]], section: str, type_: type[S]) -> S:
    """One section alone, whatever the others hold; raises ConfigError."""
    problems: list[str] = []
    merged: dict[str, Any] = {}
    for name, document in documents:
        _merge_document(merged, name, document, problems)
    own = _convert(_filled(merged.get(section) or {}, type_), type_, section, problems)
    if problems:
        raise ConfigError(sorted(set(problems)))
    assert own is not None
    return own


def _has_port(url: str) -> bool:
    """Whether everybody who is given that address can read it: who cannot goes without a proxy."""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _no_endpoint(url: str) -> str:
    """Why no request can be made there; empty where one can: paths are put behind it, and a token into the header that
    a name and password would need (the library raises what ends a daemon)."""
    if why := insecure(url):
        return why
    if "@" in urlsplit(url).netloc:
        return "must be without a name or password"
    return "must be without ? and #" if "?" in url or "#" in url else ""


def insecure(url: str) -> str:
    """Why an address may not be used: plain http is refused off loopback. Empty when it may.

    What is no address at all, as a name with two dots in a row, would end a daemon where it is first used; blanks and
    line ends, as YAML's `|` leaves them, the library takes out of some parts and not of others.
    """
    try:
        split = urlsplit(url)
        name, _ = split.hostname or "", split.port
    except ValueError:
        return "is no address"
    labels = name.removesuffix(".").split(".") if name else []
    if " " in url or not url.isprintable() or not all(0 < len(label) < 64 for label in labels):
        return "is no address"
    if url.startswith("https://"):
        return "" if name else "names no host"
    if not url.startswith("http://"):
        return "must begin with https://"
    host = url.removeprefix("http://").split("/", 1)[0].rsplit("@", 1)[-1]
    host = host[1:].split("]")[0] if host.startswith("[") else host.split(":", 1)[0]
    parts = host.split(".")
    numeric = len(parts) == 4 and all(part.isdigit() for part in parts)
    if host in ("localhost", "::1") or (numeric and parts[0] == "127"):
        return ""
    return "plain http is refused off loopback"


def _merge_document(merged: dict[str, Any], name: str, document: Any, problems: list[str]) -> None:
    if document is None:
        return
    if not isinstance(document, dict):
        problems.append(f"{name}: must be a mapping")
        return
    merged.update(_overlaid(merged, document))


def _overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key at every depth; anything else is replaced. Neither argument is changed."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        result[key] = _overlaid(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return result


def _merge_environment(merged: dict[str, Any], environ: Mapping[str, str], problems: list[str]) -> None:
    for variable, text in sorted(environ.items()):
        if not variable.startswith(ENV_PREFIX) or variable in NOT_SETTINGS:
            continue
        path = variable.removeprefix(ENV_PREFIX).lower().split("__")
        if len(path) < 2 or path[0] not in SECTIONS:
            problems.append(f"{variable}: names no setting")
            continue
        where = merged
        for part in path[:-1]:
            child = where.get(part)
            where[part] = where = dict(child) if isinstance(child, dict) else {}
        where[path[-1]] = _scalar(text)


def _scalar(text: str) -> Any:
    """A value from the environment: JSON where it is JSON, else the text itself."""
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _filled(value: Any, type_: type[msgspec.Struct], default: msgspec.Struct | None = None) -> Any:
    """A section with what it leaves out taken from `default`: that of the field which holds it, not of its type, so
    that `health: {bind: ...}` keeps the daemon's own port."""
    if not isinstance(value, dict):
        return value
    result = dict(value)
    for field in msgspec.structs.fields(type_):
        below = _default_of(field) if default is None else getattr(default, field.name)
        if field.encode_name in value:
            if isinstance(below, msgspec.Struct):
                result[field.encode_name] = _filled(value[field.encode_name], type(below), below)
        elif default is not None:
            result[field.encode_name] = msgspec.to_builtins(below)
    return result


def _default_of(field: msgspec.structs.FieldInfo) -> Any:
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


T = TypeVar("T")


def _convert(value: Any, type_: type[T], path: str, problems: list[str]) -> T | None:
    """Converts one struct field by field, so that every error is found, each with its path."""
    if not isinstance(value, dict):
        problems.append(f"{path}: must be a mapping")
        return None
    before = len(problems)
    fields = {field.encode_name: field for field in msgspec.structs.fields(type_)}  # type: ignore[arg-type]
    hints = get_type_hints(type_, include_extras=True)
    problems += [f"{path}.{key}: unknown key" for key in value if key not in fields]
    for name, field in fields.items():
        if name not in value:
            if field.required:
                problems.append(f"{path}.{name}: is required")
            continue
        _check_field(value[name], hints[field.name], f"{path}.{name}", problems)
    if len(problems) > before:
        return None
    return msgspec.convert(value, type_)


def _check_field(value: Any, hint: Any, path: str, problems: list[str]) -> None:
    struct = _struct_of(hint)
    if struct is not None and isinstance(value, dict):
        _convert(value, struct, path, problems)
        return
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        cause, _, inner = str(error).partition(" - at `")
        inner = inner.rstrip("`").replace("key` in `$", " key").removeprefix("$")
        for pattern, text in patterns_of(hint):
            if cause.endswith(f" matching regex {pattern!r}"):
                cause = text
        if cause.startswith("Invalid enum value") and len(lists := list(words_of(hint))) == 1:
            cause = f"must be one of {', '.join(lists[0])}"
        problems.append(f"{path}{inner}: {cause[:1].lower()}{cause[1:]}")
        return
    for note in getattr(hint, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and (why := (note.extra or {}).get("why_not", _nothing)(value)):
            problems.append(f"{path}: {why}")


def _nothing(value: Any) -> str:
    return ""


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint
    if get_origin(hint) is not None:
        found = [s for arg in get_args(hint) if (s := _struct_of(arg)) is not None]
        is_union = type(None) in get_args(hint)
        return found[0] if len(found) == 1 and is_union else None
    return None
