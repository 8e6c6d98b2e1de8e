"""A YAML or JSON text as a tree that remembers its lines, so that a refusal can point at one. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from outhaul.errors import Refused
from outhaul.problems import Problem, refuse

DEEPEST = 40
MOST_ITEMS = 50_000
WIDEST = 160

_SECRET = re.compile(r"""(\w*keys?["']?\s*:\s*)[^,{}\[\]\s]+""", re.IGNORECASE)
"""Keys that the user chose, misspelled ones included."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Item:
    """One value. `value` is a scalar, a list of items or a dict of items; `text` is a scalar as it was written."""

    value: Any
    line: int
    text: str = ""

    def plain(self) -> Any:
        """The value without lines."""
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return [item.plain() for item in self.value] if isinstance(self.value, list) else self.value


@dataclass(frozen=True)
class Document:
    """A file's content. `name` is its path as the user knows it."""

    name: str
    root: Item
    lines: tuple[str, ...]

    def at(self, line: int) -> str:
        """`outhaul.yaml:3: scrpt: train.py`: where, and what stands there."""
        shown = _shown(self.lines[line - 1].strip()) if 0 < line <= len(self.lines) else ""
        return f"{self.name}:{line}: {shown}" if shown else f"{self.name}:{line}"

    def plain(self) -> Any:
        return self.root.plain()


def read_document(text: str, name: str) -> Document:
    """Read YAML, or JSON where the text begins with `{`. Refused for a syntax error and for a key that occurs twice.

    Nothing is interpolated: `${HOME}` stays as it is.
    """
    as_json = text.lstrip("\ufeff \t\r\n").startswith("{") and _is_json(text)
    # YAML reads JSON's lines, but knows no tab as white space; JSON allows a raw tab nowhere else.
    source = text.replace("\t", " ") if as_json else text
    lines = tuple(text.splitlines())
    loader = yaml.SafeLoader(source.lstrip("\ufeff"))
    try:
        node = loader.get_single_node()
        reader = _Reader(Document(name, Item(None, 1), lines), loader, as_json)
        root = Item({}, 1) if node is None else reader.item(node, ())
    except (yaml.YAMLError, ValueError) as error:
        raise _syntax(error, name, lines) from error
    finally:
        loader.dispose()
    refuse(reader.repeated, name)
    return Document(name, root, lines)


def _is_json(text: str) -> bool:
    try:
        json.loads(text.lstrip("\ufeff"))
    except ValueError:
        return False
    return True


class _Reader:
    """Turns YAML's nodes into items."""

    def __init__(self, document: Document, loader: yaml.SafeLoader, as_json: bool) -> None:
        self.repeated: list[Problem] = []
        self._document = document
        self._loader = loader
        self._as_json = as_json
        self._items = 0

    def item(self, node: yaml.Node, path: Path) -> Item:
        line = node.start_mark.line + 1
        self._items += 1
        if len(path) > DEEPEST or self._items > MOST_ITEMS:
            raise Refused(
                "project-file-size",
                f"{self._document.name} is nested too deeply or is too large",
                found=self._document.at(line),
                expected=f"at most {DEEPEST} levels and {MOST_ITEMS} values, aliases counted",
                remedy="write the values out, without `*aliases` of `&anchors`",
            )
        if isinstance(node, yaml.MappingNode):
            return Item(dict(self._entries(node, path)), line)
        if isinstance(node, yaml.SequenceNode):
            return Item([self.item(child, (*path, index)) for index, child in enumerate(node.value)], line)
        assert isinstance(node, yaml.ScalarNode)
        return Item(self._scalar(node), line, node.value)

    def _entries(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Item]]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                self.repeated.append(self._twice((*path, key.value), seen[key.value], line))
            if isinstance(key, yaml.ScalarNode):
                seen[key.value] = line
        self._loader.flatten_mapping(node)
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else str(self._loader.construct_object(key, deep=True))
            child = self.item(value, (*path, name))
            yield name, Item(child.value, key.start_mark.line + 1, child.text)

    def _twice(self, path: Path, first: int, again: int) -> Problem:
        return Problem(
            "repeated-key",
            f"`{dotted(path)}` is given twice",
            found=f"{self._document.at(again)} (first on line {first})",
            expected="each key once",
            remedy="keep one of the two",
        )

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if not self._as_json:
            return self._loader.construct_object(node)
        if node.style is None:
            return json.loads(node.value)
        # JSON writes characters above U+FFFF as two halves; YAML leaves them as halves.
        return node.value.encode("utf-16", "surrogatepass").decode("utf-16")


def _shown(line: str) -> str:
    """The line as a message may show it: without keys, and short (JSON may stand on one line)."""
    line = _SECRET.sub(r"\1…", line)
    return line if len(line) <= WIDEST else f"{line[:WIDEST]}…"


def _syntax(error: Exception, name: str, lines: tuple[str, ...]) -> Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line, column = (mark.line, mark.column) if mark is not None else (0, 0)
    if mark is None and hasattr(error, "position"):
        return _unreadable(error, name)
    shown = lines[line] if line < len(lines) else ""
    where = f"{name}:{line + 1}" + (f"\n{_pointed(shown, column)}" if shown.strip() else ", at the end of the file")
    return Refused(
        "syntax",
        f"{name} is neither valid YAML nor JSON: {getattr(error, 'problem', None) or error}",
        found=where,
        expected="`key: value` lines, indented with spaces" if "\t" in shown else "valid YAML",
        remedy="correct the line shown; often the mistake is on the line before it",
    )


def _pointed(line: str, column: int) -> str:
    shown = _shown(line)
    return f"{shown}\n{' ' * column}^" if shown == line else shown


def _unreadable(error: Exception, name: str) -> Refused:
    return Refused(
        "syntax",
        f"{name} holds a character that YAML does not allow",
        found=str(error),
        expected="printable text in UTF-8",
        remedy="save the file again as UTF-8 text",
    )


def dotted(path: Path) -> str:
    """`("models", 0, "name")` → `models[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
