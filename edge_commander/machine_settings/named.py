"""What is wrong with the files beside a galley.yaml, where no daemon's check says it, and where they belong. Pure.

`found`: as medium.read gives it. A node refuses a medium with `exposed` keys; the rest is told at the desk alone, as
all of it is right on some node: a code may be used up, a kubeconfig may come later.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import msgspec

from edge_commander.machine_settings.files import CODE, READERS, reader_of

ETC = "/etc/galley/"
"""Where a node has the files of its medium."""
MAIN, FOLDER = "galley.yaml", "galley/"
"""The file that names them there, and where they are."""
_PEM = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_CODE = re.compile(rb"[!-~]{4,256}")
_CODE_FILE = "edge_commander.enrol_code_file"
_MISSING = re.compile(
    r"(?P<setting>[a-z0-9_.\[\]]+): (?:the Git credential's file )?(?P<file>.+?):? (?:cannot be read: )?"
    r"No such file or directory"
)


def exposed(found: Mapping[str, bytes]) -> list[str]:
    """Private keys in files that every user of the node may read: an operator's, that of a certificate, a device's."""
    why = "holds a private key, and every user of the node may read it: it does not belong on a medium"
    return [
        f"{'' if name == MAIN else FOLDER}{name}: {why}"
        for name, data in sorted(found.items())
        if reader_of(name) is None and (_PEM.search(data) or _is_private(data))
    ]


def _is_private(data: bytes) -> bool:
    """A JWK with its private half (RFC 7517), at any depth."""
    try:
        todo: list[Any] = [msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    while todo:
        one = todo.pop()
        if isinstance(one, dict):
            if "kty" in one and ("d" in one or "k" in one):
                return True
            todo += one.values()
        elif isinstance(one, list):
            todo += one
    return False


def told(problem: str, found: Mapping[str, bytes], top: Collection[str]) -> str:
    """A daemon's problem with a file that is missing, in the places of who made the medium. `top`: names there."""
    line = _MISSING.fullmatch(problem)
    if line is None:
        return problem
    why = _misplaced(line["file"], found, top)
    return f"{line['setting']}: {why}" if why else problem


def _misplaced(file: str, found: Mapping[str, bytes], top: Collection[str]) -> str:
    """Empty where nobody knows better: also for what is there, for another daemon's user alone."""
    name = file.rpartition("/")[2]
    if not file.startswith("/") or (file != ETC + name and (file.startswith(ETC) or name in found)):
        return f"{file}: must be {ETC}{name}, which is {FOLDER}{name} on the medium"
    if file != ETC + name or name in found:
        return ""
    missing = f"{FOLDER}{name} is not there"
    if twins := _twins(name, found):
        return f"{missing}: {FOLDER}{twins[0]} must be called so"
    if name in top:
        return f"{missing}: {name} is at the top, and belongs into the folder galley"
    return f"{missing}: put {name} into the folder galley, beside galley.yaml"


def _twins(name: str, found: Iterable[str]) -> list[str]:
    """A computer that hides the ends of names gives a text file one more."""
    plain = name.casefold()
    return [one for one in found if one.casefold() in (plain, f"{plain}.txt")]


def desk(found: Mapping[str, bytes], document: Any, top: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """(What will not work on a node that is new, what is worth a word). `document`: galley.yaml's."""
    wrong, notes = _code(found, _at(document, *_CODE_FILE.split(".")), top)
    for path, user in (
        ("vessel.kubeconfig", READERS["vessel"]),
        ("edge_commander.distribution.kubeconfig", READERS["commander"]),
    ):
        wrong += [f"{path}: {why}" for why in _kubeconfig(found, _at(document, *path.split(".")), user, top)]
    formed = _at(document, "edge_commander", "distribution")
    if not isinstance(formed, dict) or not {"kind", "kubeconfig"} & set(formed):
        notes.append(
            "edge_commander.distribution.kind is not set: the node waits for a cluster that somebody else forms, and "
            "never begins one; kubeadm or k3s does"
        )
    return wrong, notes


def _at(value: Any, *path: str) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _code(found: Mapping[str, bytes], file: Any, top: Collection[str]) -> tuple[list[str], list[str]]:
    if not isinstance(file, str):
        there = [name for name in found if name.casefold() == CODE]
        return [], [f"{FOLDER}{name} is read by nobody: {_CODE_FILE} does not name {ETC}{name}" for name in there]
    name = file.rpartition("/")[2]
    if file == ETC + name and name in found:
        return _content(name, found[name].strip())
    if file == ETC + name and name not in top and not _twins(name, found):
        if alike := [f"{FOLDER}{one}" for one in _like_a_code(found)] + [*_like_a_code(top)]:
            return [f"{_CODE_FILE}: {FOLDER}{name} is not there: {alike[0]} must be called so"], []
        then = "a new device waits for an approval, and one that is enrolled needs none"
        return [], [f"{_CODE_FILE}: {FOLDER}{name} is not there: {then}"]
    why = _misplaced(file, found, top)
    return [f"{_CODE_FILE}: {why}"] if why else [], []


def _content(name: str, data: bytes) -> tuple[list[str], list[str]]:
    """Any text may have been given as a code (`galley device ship`), but not one that is no word."""
    if not data:
        return [f"{_CODE_FILE}: {FOLDER}{name} is empty: it must hold the device's one-time code"], []
    if _CODE.fullmatch(data) is None:
        return [f"{_CODE_FILE}: {FOLDER}{name} must hold the one-time code alone, in one line of plain text"], []
    if name.casefold() != CODE:
        return [], [f"{_CODE_FILE}: {FOLDER}{name} is not called {CODE}: every user of the node may read it"]
    return [], []


def _like_a_code(names: Iterable[str]) -> list[str]:
    return sorted(one for one in names if re.search(r"enrol|code", one.casefold()))


def _kubeconfig(found: Mapping[str, bytes], file: Any, user: str, top: Collection[str]) -> list[str]:
    """One elsewhere, as in /run/galley-access, is made on the node."""
    if not isinstance(file, str):
        return []
    name = file.removeprefix(ETC)
    if file != ETC + name or "/" in name or name not in found:
        return [why] if (why := _misplaced(file, found, top)) else []
    if reader_of(name) not in (None, user):
        return [f"{FOLDER}{name}: only {reader_of(name)} may read it, by its name"]
    if not re.search(rb"(?m)^\s*[\"']?clusters[\"']?\s*:|\"clusters\"\s*:", found[name]):
        return [f"{FOLDER}{name}: is no kubeconfig: it names no clusters"]
    return []
