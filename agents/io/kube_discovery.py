"""What the API server serves: kinds, their paths, scope and verbs, read from aggregated discovery (KEP-3352)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ACCEPT = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


@dataclass(frozen=True, order=True)
class Resource:
    """One served kind. `plural` as in paths, `api_version` as in manifests (`apps/v1`, `v1`)."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = field(default=frozenset(), compare=False)
    subresources: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str = "", name: str = "") -> str:
        """The URL path of one object; without `name` of the collection, without `namespace` of all namespaces."""
        parts = ["/apis" if self.group else "/api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        return "/".join(parts)


class Discovery:
    """An immutable view of one discovery. `stale`: groups whose aggregated server did not answer."""

    def __init__(self, resources: Iterable[Resource], preferred: Mapping[str, str], stale: frozenset[str]) -> None:
        self._by_kind = {(r.api_version, r.kind): r for r in resources}
        self._preferred = dict(preferred)
        self.stale = stale

    def find(self, api_version: str, kind: str) -> Resource | None:
        """The resource of a kind in this very version, or None when it is not served."""
        return self._by_kind.get((api_version, kind))

    def find_any(self, group: str, kind: str, version: str = "") -> Resource | None:
        """The resource of a kind in `version`, else in the group's first served version that has it."""
        wanted = f"{group}/{version}" if group else version
        found = self.find(wanted, kind) if version else None
        if found is None and group in self._preferred:
            found = self.find(self._preferred[group], kind)
        if found is None:
            found = next((r for (_, k), r in sorted(self._by_kind.items()) if k == kind and r.group == group), None)
        return found

    def __len__(self) -> int:
        return len(self._by_kind)


def read(*documents: Mapping[str, Any]) -> Discovery:
    """Reads the aggregated discovery documents of `/api` and `/apis`."""
    resources: list[Resource] = []
    preferred: dict[str, str] = {}
    stale: set[str] = set()
    for document in documents:
        for item in document.get("items") or ():
            group = item.get("metadata", {}).get("name", "")
            for version in item.get("versions") or ():
                api_version = f"{group}/{version['version']}" if group else version["version"]
                preferred.setdefault(group, api_version)
                if version.get("freshness") == "Stale":
                    stale.add(group)
                resources += [_resource(api_version, entry) for entry in version.get("resources") or ()]
    return Discovery(resources, preferred, frozenset(stale))


def _resource(api_version: str, entry: Mapping[str, Any]) -> Resource:
    return Resource(
        api_version=api_version,
        kind=(entry.get("responseKind") or {}).get("kind", ""),
        plural=entry["resource"],
        namespaced=entry.get("scope") == "Namespaced",
        verbs=frozenset(entry.get("verbs") or ()),
        subresources=frozenset(sub["subresource"] for sub in entry.get("subresources") or ()),
    )
