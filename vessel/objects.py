"""From manifests to the objects that are sent: kinds resolved, namespaces filled in, labelled, hashed. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.contracts.messages import Problem
from vessel.fields import digest
from vessel.model import App, AppSpec, Atlas, Manifest, Ref
from vessel.order import is_definition

APP_LABEL = "vessel.galley/app"
"""On every object of an app: what watches and lists select by."""
_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_SERVERS = (
    "managedFields",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "selfLink",
    "deletionTimestamp",
)


class Kind(Protocol):
    """What must be known of a kind (agents.io.kube.Resource is one)."""

    @property
    def api_version(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def namespaced(self) -> bool: ...  # noqa: D102


Find = Callable[[str, str], Kind | None]
"""Looks a kind up by apiVersion and kind."""


@dataclass(frozen=True)
class NewKind:
    """A kind that a definition in this very commit will serve. `schema`: its openAPIV3Schema."""

    api_version: str
    kind: str
    namespaced: bool
    schema: Mapping[str, Any] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Item:
    """One object to be at the cluster. `body` is what is sent and never printed; `digest` is of `body`."""

    ref: Ref
    app: str
    account: str
    body: dict[str, Any] = field(repr=False)
    digest: str
    file: str
    line: int
    new_kind: NewKind | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """Identity across versions."""
        return self.ref.key

    def problem(self, cause: str, path: str = "") -> Problem:
        """A problem that names this object's place."""
        return Problem(cause=cause[:4000], file=self.file, line=self.line, object=str(self.ref), path=path)


@dataclass(frozen=True)
class Resolved:
    """All items by app, and what is wrong. Unknown kinds are in `unknown`, to look again after a refresh."""

    items: dict[str, tuple[Item, ...]]
    problems: tuple[Problem, ...]
    unknown: frozenset[tuple[str, str]]

    @property
    def all(self) -> tuple[Item, ...]:
        """Every item, apps in order."""
        return tuple(item for items in self.items.values() for item in items)


def resolve(atlas: Atlas, find: Find) -> Resolved:
    """Resolves every manifest by what is served (`find`) and by the definitions of the commit itself."""
    new_kinds = {
        (kind.api_version, kind.kind): kind
        for app in atlas.apps
        for manifest in app.manifests
        if is_definition(manifest.ref)
        for kind in defined_kinds(manifest.body)
    }
    items: dict[str, tuple[Item, ...]] = {}
    problems: list[Problem] = []
    unknown: set[tuple[str, str]] = set()
    places: dict[tuple[str, str, str, str], Item] = {}
    for app in atlas.apps:
        problems += _app_problems(app.spec)
        done: list[Item] = []
        for manifest in app.manifests:
            if wrong := malformed(manifest):
                problems += wrong
                continue
            kind_key = (manifest.ref.api_version, manifest.ref.kind)
            kind = find(*kind_key) or new_kinds.get(kind_key)
            if kind is None:
                unknown.add(kind_key)
                problems.append(_unknown(manifest))
                continue
            item = prepare(manifest, app, kind, new_kinds.get(kind_key))
            if item.key in places:
                first = places[item.key]
                problems.append(item.problem(f"is already at {first.file}:{first.line} (app {first.app})"))
                continue
            places[item.key] = item
            done.append(item)
        items[app.spec.name] = tuple(done)
    return Resolved(items, tuple(problems), frozenset(unknown))


def prepare(manifest: Manifest, app: App, kind: Kind, new_kind: NewKind | None) -> Item:
    """The object as it is sent: namespace by scope, our label, `stringData` as `data`, without the server's fields."""
    body = {key: value for key, value in manifest.body.items() if key != "status"}
    meta = {k: v for k, v in (body.get("metadata") or {}).items() if k not in _SERVERS}
    namespace = ""
    meta.pop("namespace", None)
    if kind.namespaced:
        namespace = manifest.ref.namespace or app.spec.namespace
        meta["namespace"] = namespace
    meta["labels"] = {**(meta.get("labels") or {}), APP_LABEL: app.spec.name}
    body["metadata"] = meta
    ref = Ref(manifest.ref.api_version, manifest.ref.kind, namespace, manifest.ref.name)
    if (ref.group, ref.kind) == ("", "Secret"):
        _fold_string_data(body)
    return Item(
        ref=ref,
        app=app.spec.name,
        account=app.spec.service_account,
        body=body,
        digest=digest(body),
        file=manifest.file,
        line=manifest.line,
        new_kind=new_kind,
    )


def _fold_string_data(body: dict[str, Any]) -> None:
    """The server folds it too, but then `data` would be owned by nobody and never be taken away again.

    Only what is well formed is folded. The rest stays as it is, so that the server refuses it as kubectl's users
    know it: a slip of indentation must not become a Secret without content.
    """
    texts, data = body.get("stringData"), body.get("data")
    if texts is None:
        body.pop("stringData", None)
    elif isinstance(texts, dict) and isinstance(data, dict | None):
        plain = {key: "" if text is None else text for key, text in texts.items()}  # null is an empty text there
        if all(isinstance(text, str) for text in plain.values()):
            del body["stringData"]
            body["data"] = {**(data or {}), **{k: base64.b64encode(v.encode()).decode() for k, v in plain.items()}}


def defined_kinds(definition: Mapping[str, Any]) -> Iterable[NewKind]:
    """The kinds that a CustomResourceDefinition serves; none of what is malformed."""
    spec = definition.get("spec")
    names = spec.get("names") if isinstance(spec, dict) else None
    versions = spec.get("versions") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(names, dict) or not isinstance(versions, list):
        return
    for version in versions:
        if not isinstance(version, dict) or not version.get("served", True):
            continue
        holder = version.get("schema")
        schema = holder.get("openAPIV3Schema") if isinstance(holder, dict) else None
        yield NewKind(
            api_version=f"{spec.get('group', '')}/{version.get('name', '')}",
            kind=str(names.get("kind", "")),
            namespaced=spec.get("scope") == "Namespaced",
            schema=schema if isinstance(schema, dict) else {},
        )


def malformed(manifest: Manifest) -> list[Problem]:
    """What has not the shape that is relied on from here on, by field. The server would refuse it as well."""
    wanted = [*_METADATA, *(_DEFINITION if is_definition(manifest.ref) else ())]
    return [
        Problem(
            cause=f"must be {_SHAPES[type_]}",
            file=manifest.file,
            line=manifest.line,
            object=str(manifest.ref),
            path=path,
        )
        for pattern, type_, optional in wanted
        for path, value in _at(manifest.body, pattern.split("."), "")
        if not (isinstance(value, type_) or (optional and value is None))
    ]


_SHAPES: dict[type, str] = {dict: "a mapping", list: "a list", str: "a text"}
_METADATA: tuple[tuple[str, type, bool], ...] = (
    ("metadata", dict, False),
    ("metadata.labels", dict, True),
    ("metadata.annotations", dict, True),
)
_DEFINITION: tuple[tuple[str, type, bool], ...] = (
    ("spec", dict, False),
    ("spec.group", str, False),
    ("spec.names", dict, False),
    ("spec.names.kind", str, False),
    ("spec.versions", list, False),
    ("spec.versions.*", dict, False),
    ("spec.versions.*.name", str, False),
    ("spec.versions.*.schema", dict, True),
    ("spec.versions.*.schema.openAPIV3Schema", dict, True),
)
"""Path (`*`: each item), type, and whether it may be missing. Source: CustomResourceDefinitionSpec, v1."""


def _at(value: Any, keys: list[str], path: str) -> Iterable[tuple[str, Any]]:
    """The values at a path, each with its place; none below what has another shape, which is told by itself."""
    if not keys:
        yield path, value
    elif keys[0] == "*":
        for index, item in enumerate(value if isinstance(value, list) else ()):
            yield from _at(item, keys[1:], f"{path}[{index}]")
    elif isinstance(value, dict):
        yield from _at(value.get(keys[0]), keys[1:], f"{path}.{keys[0]}".removeprefix("."))


def in_namespace(body: Mapping[str, Any], namespace: str) -> dict[str, Any]:
    """The same object in another namespace: for a dry run where its own does not exist yet."""
    return {**body, "metadata": {**body["metadata"], "namespace": namespace}}


def _unknown(manifest: Manifest) -> Problem:
    return Problem(
        cause=f"the cluster has no kind {manifest.ref.kind} in {manifest.ref.api_version}, and no definition of it"
        " is in the commit",
        file=manifest.file,
        line=manifest.line,
        object=str(manifest.ref),
        path="kind",
    )


def _app_problems(spec: AppSpec) -> list[Problem]:
    problems = []
    if not _NAME.match(spec.name):
        problems.append(Problem(cause=f"app name {spec.name!r} is no DNS label", file=spec.file))
    if not re.match(r"^[^/]+/[^/]+$", spec.service_account):
        cause = f"serviceAccount {spec.service_account!r} is not namespace/name"
        problems.append(Problem(cause=cause, file=spec.file, path="serviceAccount"))
    return problems
