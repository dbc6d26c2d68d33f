"""What of a live object is ours: the fields that our field manager owns, as a short digest. Pure.

The verdict "this object is as Vessel made it" must agree with the server, which defaults, normalises (quantities,
times) and merges lists by key. So nothing is compared with the manifest: after each of our own applies the server
answers with the object as it is now; the values of the fields that are ours there are the baseline, and the same
projection of the object as it is later must equal it. A field that somebody else took over or removed is no longer
ours, so it is missing from the later projection.

Source of the format: structured-merge-diff's fieldpath serialisation (`FieldsV1`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

MANAGER = "galley-vessel"
"""Our field manager's name."""

_ABSENT = object()


def digest(value: Any) -> str:
    """64 bits of SHA-256 over the value's canonical JSON, in hex."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:16]


def owned_fields(live: Mapping[str, Any], manager: str = MANAGER) -> Mapping[str, Any] | None:
    """The field set that `manager` applied to the object itself (no subresource), or None when it applied none."""
    for entry in (live.get("metadata") or {}).get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource"):
            fields: Mapping[str, Any] = entry.get("fieldsV1") or {}
            return fields
    return None


def owned_digest(live: Mapping[str, Any], manager: str = MANAGER) -> str:
    """The digest of our part of a live object; empty when nothing of it is ours."""
    fields = owned_fields(live, manager)
    return "" if fields is None else digest(project(live, fields))


def last_other_manager(live: Mapping[str, Any], manager: str = MANAGER) -> str:
    """Who else wrote the object last (no subresources): for telling people who keeps changing it."""
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    others = [e for e in entries if e.get("manager") != manager and not e.get("subresource")]
    return str(max(others, key=lambda e: str(e.get("time", ""))).get("manager", "")) if others else ""


def project(value: Any, fields: Mapping[str, Any]) -> Any:
    """The part of `value` that `fields` names, lists as mappings from their items' keys. Missing parts are left out."""
    members = {key: sub for key, sub in fields.items() if key != "."}
    if not members:
        return value
    result: dict[str, Any] = {}
    for key, sub in members.items():
        found = _member(value, key)
        if found is not _ABSENT:
            result[key] = project(found, sub)
    return result


def _member(value: Any, key: str) -> Any:
    """The member that one path element names: `f:` field, `k:` keyed item, `v:` set item, `i:` index."""
    kind, _, rest = key.partition(":")
    if kind == "f":
        return value.get(rest, _ABSENT) if isinstance(value, dict) else _ABSENT
    if not isinstance(value, list):
        return _ABSENT
    if kind == "k":
        wanted = msgspec.json.decode(rest)
        return next((item for item in value if _has(item, wanted)), _ABSENT)
    if kind == "v":
        wanted = msgspec.json.decode(rest)
        return wanted if wanted in value else _ABSENT
    if kind == "i" and rest.isdigit() and int(rest) < len(value):
        return value[int(rest)]
    return _ABSENT


def _has(item: Any, wanted: Mapping[str, Any]) -> bool:
    return isinstance(item, dict) and all(item.get(name) == expected for name, expected in wanted.items())
