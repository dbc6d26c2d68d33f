"""Checks an object against the schema of a definition that is in the same commit, where no server can yet. Pure.

A first check, not a validator: types, required and unknown fields, enums, bounds, items and maps of a structural
schema. Defaults, CEL rules, formats and list types are the server's, which judges the object again just before its
stage. So are patterns: they are the commit's own, and one that backtracks would hold up the whole process (Go's
never do). A malformed part of a schema says nothing here: the server refuses its definition.
Source: the CustomResourceDefinition API, "Specifying a structural schema".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
_TOP = frozenset({"apiVersion", "kind", "metadata", "status"})
_MAX = 20


def check(body: Mapping[str, Any], schema: Schema) -> list[tuple[str, str]]:
    """(path, cause) of what is wrong with an object, at most 20."""
    if not schema:
        return []
    properties = {k: v for k, v in _mapping(schema, "properties").items() if k not in _TOP}
    top = {**schema, "properties": properties, "required": [r for r in _required(schema) if r not in _TOP]}
    rest = {key: value for key, value in body.items() if key not in _TOP}
    found = []
    for problem in _check(rest, top, ""):
        found.append(problem)
        if len(found) >= _MAX:
            break
    return found


def _check(value: Any, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    if value is None:
        if not schema.get("nullable") and schema.get("type"):
            return  # the server drops nulls where there is a default, and refuses them else: its business
        return
    wrong = _wrong_type(value, schema)
    if wrong:
        yield path, wrong
        return
    enum = schema.get("enum")
    if isinstance(enum, list) and value not in enum:
        yield path, f"is not one of {', '.join(str(e) for e in enum[:10])}"
    if isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, path)


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def _wrong_type(value: Any, schema: Schema) -> str:
    if schema.get("x-kubernetes-int-or-string"):
        fine = isinstance(value, (int, str)) and not isinstance(value, bool)
        return "" if fine else "must be a whole number or text"
    type_ = schema.get("type")
    if not isinstance(type_, str) or type_ not in _TYPES:
        return ""
    fine = isinstance(value, _TYPES[type_]) and (type_ == "boolean" or not isinstance(value, bool))
    if type_ == "integer" and isinstance(value, float) and value.is_integer():
        fine = True
    return "" if fine else f"must be of type {type_}"


def _check_text(value: str, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    yield from _check_count(len(value), schema, path, ("minLength", "maxLength", "characters"))


def _check_number(value: float, schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    least, most = _number(schema, "minimum"), _number(schema, "maximum")
    if least is not None and value < least:
        yield path, f"must be at least {least}"
    if most is not None and value > most:
        yield path, f"must be at most {most}"


def _check_count(count: int, schema: Schema, path: str, names: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    least, most = _number(schema, names[0]), _number(schema, names[1])
    if least is not None and count < least:
        yield path, f"must have at least {least} {names[2]}"
    if most is not None and count > most:
        yield path, f"must have at most {most} {names[2]}"


def _check_list(value: list[Any], schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    yield from _check_count(len(value), schema, path, ("minItems", "maxItems", "items"))
    items = schema.get("items")
    if isinstance(items, dict):
        for index, item in enumerate(value):
            yield from _check(item, items, f"{path}[{index}]")


def _check_object(value: dict[str, Any], schema: Schema, path: str) -> Iterator[tuple[str, str]]:
    if schema.get("x-kubernetes-embedded-resource"):
        return
    properties = _mapping(schema, "properties")
    extra = schema.get("additionalProperties")
    loose = schema.get("x-kubernetes-preserve-unknown-fields") or extra is True
    for name in _required(schema):
        if name not in value and "default" not in _mapping(properties, name):
            yield _join(path, name), "is required"
    for name, member in value.items():
        where = _join(path, name)
        if name in properties:
            yield from _check(member, _mapping(properties, name), where)
        elif isinstance(extra, dict):
            yield from _check(member, extra, where)
        elif not loose:
            yield where, "is not a field of this kind"


def _mapping(schema: Schema, name: str) -> Schema:
    found = schema.get(name)
    return found if isinstance(found, dict) else {}


def _required(schema: Schema) -> list[str]:
    found = schema.get("required")
    return [name for name in found if isinstance(name, str)] if isinstance(found, list) else []


def _number(schema: Schema, name: str) -> float | None:
    found = schema.get(name)
    return found if isinstance(found, (int, float)) and not isinstance(found, bool) else None


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
