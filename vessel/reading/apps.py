"""`apps/<name>/app.yaml` to an AppSpec, all that is wrong in it at once. Pure."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable
from typing import Any

from agents.contracts.messages import Problem
from vessel.model import AppSpec
from vessel.reading.documents import Document
from vessel.reading.objects import kind_of

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_ACCOUNT = re.compile(r"(?:[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/)?[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_MAX_TIMEOUT = 24 * 3600


class _Fault(Exception):
    """What is wrong with one value."""


def check_app_name(name: str) -> str:
    """Why a directory's name cannot be an app's, or empty: it becomes part of names in the cluster."""
    if _LABEL.fullmatch(name):
        return ""
    return "an app's directory is named by lower-case letters, digits and '-', at most 63"


def app_spec(name: str, file: str, documents: list[Document], report: Callable[[Problem], None]) -> AppSpec | None:
    """The spec, or None after problems were reported. `path` comes back relative to the Atlas' root."""
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        line = documents[1].line if len(documents) > 1 else 0
        report(Problem(file=file, line=line, cause="must hold one mapping"))
        return None
    document = documents[0]
    values: dict[str, Any] = {}
    failed = False
    written = document.value if "v" in document.value else {"v": None, **document.value}
    for key, value in written.items():
        try:
            if key not in _FIELDS:
                known = ", ".join(_FIELDS)
                raise _Fault(f"unknown key (known: {known})")
            field, check = _FIELDS[key]
            values[field] = check(value)
        except _Fault as fault:
            failed = True
            report(Problem(file=file, line=document.line_of(key), path=key[:256], cause=str(fault)))
    failed |= _check_approve(document, file, report)
    directory = posixpath.dirname(file)
    path = posixpath.normpath(posixpath.join(directory, values.pop("path", ".")))
    if path == ".." or path.startswith(("../", "/")):
        report(Problem(file=file, line=document.line_of("path"), path="path", cause="leads out of the repository"))
        failed = True
    if failed:
        return None
    values.pop("v", None)
    if "/" not in values.get("service_account", "/"):
        values["service_account"] = f"{values.get('namespace', 'default')}/{values['service_account']}"
    return AppSpec(name=name, file=file, path=path, **values)


def _version(value: Any) -> int:
    if value is None:
        raise _Fault("is required")
    if type(value) is not int or value != 1:
        raise _Fault("must be 1")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _Fault(f"must be a text, is {kind_of(value)}")
    if not value or len(value) > 256 or not value.isprintable():
        raise _Fault("must be one line of 1 to 256 characters")
    return value


def _matching(pattern: re.Pattern[str], cause: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if not pattern.fullmatch(_text(value)):
            raise _Fault(cause)
        return str(value)

    return check


def _stage(value: Any) -> int:
    if type(value) is not int:
        raise _Fault(f"must be an integer, is {kind_of(value)}")
    if not -1000 <= value <= 1000:
        raise _Fault("must be between -1000 and 1000")
    return value


def _timeout(value: Any) -> float:
    if type(value) not in (int, float):
        raise _Fault(f"must be a number of seconds, is {kind_of(value)}")
    if not math.isfinite(value) or not 0 < value <= _MAX_TIMEOUT:
        raise _Fault(f"must be more than 0 and at most {_MAX_TIMEOUT}")
    return float(value)


def _approve(value: Any) -> str:
    if not isinstance(value, dict):
        raise _Fault(f"must be a mapping, is {kind_of(value)}")
    prune = value.get("prune", "")
    return prune if isinstance(prune, str) else ""


def _check_approve(document: Document, file: str, report: Callable[[Problem], None]) -> bool:
    approve = document.value.get("approve")
    if not isinstance(approve, dict):
        return False
    before: list[str] = []
    for key, value in approve.items():
        cause = ""
        if key != "prune":
            cause = "unknown key (known: prune)"
        elif not isinstance(value, str) or not _COMMIT.fullmatch(value):
            cause = "must be a whole commit id in lower-case hex, in quotes"
        if cause:
            before.append(cause)
            line = document.line_of("approve", key)
            report(Problem(file=file, line=line, path=f"approve.{key}"[:256], cause=cause))
    return bool(before)


_FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "v": ("v", _version),
    "owner": ("owner", _text),
    "namespace": ("namespace", _matching(_LABEL, "is not a namespace's name")),
    "serviceAccount": ("service_account", _matching(_ACCOUNT, "must be name or namespace/name")),
    "stage": ("stage", _stage),
    "timeout_seconds": ("timeout_seconds", _timeout),
    "path": ("path", _text),
    "approve": ("approve_prune", _approve),
}
