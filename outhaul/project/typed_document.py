"""A document checked against a struct, key by key, with all problems and their lines at once. Pure.

Only the keys that are given are returned, as plain values, so that files and flags can be merged field by field.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec.inspect as shapes

from outhaul.problems import Problem, refuse
from outhaul.project.document import Document, Item, Path, dotted

Naming = Callable[[str], str]
"""How a struct's field is written in the file (`min_replicas` → `minReplicas`)."""

_NOTHING = object()


def as_written(field: str) -> str:
    return field


def read_typed(document: Document, struct: type, naming: Naming = as_written) -> dict[str, Any]:
    """The given fields of `struct`, under the struct's names. Refused with every unknown key and every wrong type."""
    problems: list[Problem] = []
    values = _Walk(document, naming, problems).value(document.root, shapes.type_info(struct), ())
    refuse(problems, document.name)
    assert isinstance(values, dict)
    return values


class _Walk:
    def __init__(self, document: Document, naming: Naming, problems: list[Problem]) -> None:
        self._document = document
        self._naming = naming
        self._problems = problems

    def value(self, item: Item, shape: shapes.Type, path: Path) -> Any:
        found = self._match(item, shape, path)
        if found is not _NOTHING:
            return found
        name = dotted(path) or self._document.name
        self._problems.append(
            Problem(
                "wrong-type",
                f"`{name}` is {_kind(item) if 'keys' not in path else 'of another type'}",
                found=self._document.at(item.line),
                expected=f"{name}: {_wanted(shape)}",
                remedy=_advice(shape, item),
            )
        )
        return None

    def _match(self, item: Item, shape: shapes.Type, path: Path) -> Any:
        match shape:
            case shapes.Metadata():
                return self._match(item, shape.type, path)
            case shapes.UnionType():
                return self._one_of(item, shape, path)
            case shapes.StructType() if isinstance(item.value, dict):
                return self._fields(item, shape, path)
            case shapes.StructType() if item.value is None and path:
                return {}  # `environment:` with nothing below it
            case shapes.ListType() if isinstance(item.value, list):
                return [self.value(child, shape.item_type, (*path, i)) for i, child in enumerate(item.value)]
            case shapes.DictType() if isinstance(item.value, dict):
                return {key: self.value(child, shape.value_type, (*path, key)) for key, child in item.value.items()}
            case shapes.AnyType():
                return item.plain()
        return _scalar(item, shape)

    def _one_of(self, item: Item, union: shapes.UnionType, path: Path) -> Any:
        # A number is a number first, and text only where no number is allowed; so texts are tried last.
        for shape in sorted(union.types, key=_order):
            found = self._match(item, shape, path)
            if found is not _NOTHING:
                return found
        return _NOTHING

    def _fields(self, item: Item, struct: shapes.StructType, path: Path) -> dict[str, Any]:
        fields = {self._naming(field.name): field for field in struct.fields}
        values: dict[str, Any] = {}
        for key, child in item.value.items():
            if key not in fields:
                self._problems.append(unknown_key(self._document, child, (*path, key), list(fields)))
            else:
                values[fields[key].name] = self.value(child, fields[key].type, (*path, key))
        return values


def unknown_key(document: Document, item: Item, path: Path, known: list[str]) -> Problem:
    """The key's line, the nearest known key, and all known keys."""
    key = str(path[-1])
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.6) or difflib.get_close_matches(
        key.lower(), [name.lower() for name in known], n=1, cutoff=0.6
    )
    nearest = next((name for name in known if near and name.lower() == near[0].lower()), "")
    return Problem(
        "unknown-key",
        f"unknown key `{dotted(path)}`",
        found=document.at(item.line),
        expected=f"one of {', '.join(sorted(known))}",
        remedy=f"did you mean `{dotted((*path[:-1], nearest))}`?" if nearest else "remove the key",
    )


def _scalar(item: Item, shape: shapes.Type) -> Any:
    value = item.value
    match shape:
        case shapes.NoneType() if value is None:
            return None
        case shapes.BoolType() if isinstance(value, bool):
            return value
        case shapes.IntType() if isinstance(value, int) and not isinstance(value, bool):
            return value if _within(value, shape) else _NOTHING
        case shapes.FloatType() if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value) if _within(value, shape) else _NOTHING
        case shapes.StrType() if not isinstance(value, dict | list | None):
            # `--epochs: 5` and `DEBUG: yes` mean the text that was written, not YAML's reading of it.
            text = value if isinstance(value, str) else item.text
            return text if len(text) >= (shape.min_length or 0) and re.search(shape.pattern or "", text) else _NOTHING
        case shapes.LiteralType() if value in shape.values:
            return value
    return _NOTHING


def _within(value: float, shape: shapes.IntType | shapes.FloatType) -> bool:
    return (shape.gt is None or value > shape.gt) and (shape.ge is None or value >= shape.ge)


def _order(shape: shapes.Type) -> int:
    bare = _bare(shape)
    return 0 if isinstance(bare, shapes.NoneType) else 2 if isinstance(bare, shapes.StrType) else 1


def _bare(shape: shapes.Type) -> shapes.Type:
    return _bare(shape.type) if isinstance(shape, shapes.Metadata) else shape


def _kind(item: Item) -> str:
    match item.value:
        case dict():
            return "a group of keys"
        case list():
            return "a list"
        case None:
            return "empty"
        case bool():
            return f"a truth value ({item.text})"
        case int() | float():
            return f"a number ({item.text})"
        case "":
            return "an empty text"
    return f"text ({item.text!r})"


def _wanted(shape: shapes.Type) -> str:
    match shape:
        case shapes.Metadata():
            return _wanted(shape.type) + _examples(shape)
        case shapes.UnionType():
            return " or ".join(_wanted(each) for each in shape.types if not isinstance(each, shapes.NoneType))
        case shapes.StructType():
            return f"the keys {', '.join(field.name for field in shape.fields)}"
        case shapes.LiteralType():
            return " or ".join(f"`{value}`" for value in shape.values)
        case shapes.ListType():
            return f"a list, each item {_wanted(shape.item_type)}"
        case shapes.DictType():
            return "a group of `name: value` lines"
        case shapes.IntType() | shapes.FloatType():
            kind = "a whole number" if isinstance(shape, shapes.IntType) else "a number"
            return kind + (" above 0" if shape.gt == 0 else "") + (", 0 or more" if shape.ge == 0 else "")
    return _NAMES.get(type(shape), "text")


_NAMES: Mapping[type, str] = {shapes.BoolType: "true or false"}


def _examples(shape: shapes.Metadata) -> str:
    examples = (shape.extra_json_schema or {}).get("examples", ())
    return f" such as {', '.join(examples)}" if examples else ""


def _advice(shape: shapes.Type, item: Item) -> str:
    bare = _bare(shape)
    choices = bare.types if isinstance(bare, shapes.UnionType) else (bare,)
    wants_number = any(isinstance(_bare(each), shapes.IntType | shapes.FloatType | shapes.BoolType) for each in choices)
    if wants_number and isinstance(item.value, str) and re.fullmatch(r"-?\d+(\.\d+)?|true|false", item.value):
        return f"remove the quotes around {item.value}"
    return "correct the value, or remove the line for the default" if item.value is not None else "give a value"
