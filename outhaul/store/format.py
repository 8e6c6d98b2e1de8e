"""How a record stands in storage: JSON with a `schema` and a nonce. Pure.

A record may have been written by a newer program that knows more fields. They are left out when a record is read, at
every depth, and are put back where they were when it is written again (`merged`).
"""

from __future__ import annotations

from functools import cache
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from outhaul.errors import Failed, Refused

T = TypeVar("T", bound=msgspec.Struct)
NONCE = "nonce"
_IDENTITIES = ("number", "path", "id", "name", "version")


def parsed(key: str, data: bytes, kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The record as stored. Failed when it is no record; Refused when a newer program's schema is not understood."""
    try:
        stored = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _corrupt(key, str(error), data) from error
    if not isinstance(stored, dict) or type(stored.get("schema")) is not int:
        raise _corrupt(key, "no object with a whole number `schema`", data)
    if stored["schema"] > schema_of(kind):
        raise Refused(
            "record-schema",
            f"the record `{key}` was written by a newer Outhaul",
            found=f"schema {stored['schema']}",
            expected=f"schema {schema_of(kind)} or lower",
            remedy="upgrade outhaul on this machine",
        )
    return stored


def converted(key: str, stored: dict[str, Any], kind: type[T]) -> T:
    """The record's known part. Failed when a field is missing or of the wrong type."""
    try:
        return msgspec.convert({**_known(stored, kind), "schema": schema_of(kind)}, kind)
    except msgspec.ValidationError as error:
        raise _corrupt(key, str(error), msgspec.json.encode(stored)) from error


def encoded(record: dict[str, Any], nonce: str) -> bytes:
    """The bytes to store: indented, since people read them too."""
    return msgspec.json.format(msgspec.json.encode({**record, NONCE: nonce}), indent=1) + b"\n"


def merged(stored: Any, before: Any, after: Any) -> Any:
    """`after`, with the fields put back that `stored` has and `before` (its known part) has not."""
    if isinstance(stored, dict) and isinstance(before, dict) and isinstance(after, dict):
        unknown = {name: value for name, value in stored.items() if name not in before}
        return unknown | {name: merged(stored.get(name), before.get(name), value) for name, value in after.items()}
    if isinstance(stored, list) and isinstance(before, list) and isinstance(after, list):
        places = {identity: at for at, item in enumerate(before) if (identity := _identity(item))}
        return [_merged_item(stored, before, item, places.get(_identity(item), at)) for at, item in enumerate(after)]
    return after


def _merged_item(stored: list[Any], before: list[Any], item: Any, at: int) -> Any:
    """One item of a list. It is the old one with the same identity, or at the same place where items have none."""
    same = at < len(before) and _identity(before[at]) == _identity(item)
    return merged(stored[at], before[at], item) if same else item


def _identity(item: Any) -> str:
    return repr([item[name] for name in _IDENTITIES if name in item] or "") if isinstance(item, dict) else ""


@cache
def schema_of(kind: type[msgspec.Struct]) -> int:
    """The schema that this program writes: the default of the record's field `schema`."""
    schema: int = next(field.default for field in msgspec.structs.fields(kind) if field.name == "schema")
    return schema


def _known(value: Any, kind: Any) -> Any:
    """`value` without the fields that the type does not have, at every depth."""
    if isinstance(value, dict) and (struct := _struct_in(kind)):
        types = _field_types(struct)
        return {name: _known(inner, types[name]) for name, inner in value.items() if name in types}
    if isinstance(value, list) and get_origin(kind) is list:
        return [_known(item, get_args(kind)[0]) for item in value]
    return value


@cache
def _field_types(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(struct)}


def _struct_in(kind: Any) -> type[msgspec.Struct] | None:
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return next((c for c in choices if isinstance(c, type) and issubclass(c, msgspec.Struct)), None)


def _corrupt(key: str, why: str, data: bytes) -> Failed:
    return Failed(
        "record-corrupt",
        f"the record `{key}` cannot be read",
        found=f"{why}; it begins with {data[:80]!r}",
        expected="JSON as Outhaul wrote it",
        remedy="restore the object from a backup, or remove it when what it describes is no longer needed",
    )
