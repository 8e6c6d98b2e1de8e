"""A conda YAML → its canonical definition: channels and dependencies in their order, and nothing else. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from outhaul.environment.requirements import Line, Read, canonical_lines, logical_lines, split_constraints
from outhaul.errors import Refused
from outhaul.project.document import Document, Item, read_document

KEYS = ("name", "version", "prefix", "channels", "dependencies", "variables")
_SPEC = re.compile(r"(?:[^\s:]+::)?(?P<name>[A-Za-z0-9_][A-Za-z0-9_.\-]*)(?P<constraint>(?:[\s=<>!~\[*].*)?)")
_AROUND = re.compile(r"\s*(,|\||==|>=|<=|!=|~=|=|<|>)\s*")
_TOKEN = re.compile(r"://[^/@\s]*:[^/@\s]+@|/t/[^/\s]+/")


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    """A definition taken apart for a builder."""

    python: str | None
    """The constraint on python: `=3.10`, `` for any version; None where no line names it."""
    pip: str | None
    """The constraint on pip; None where no line names it. Environments have no pip unless asked."""
    channels: list[str]
    conda: list[str]
    """Conda packages other than python and pip. Empty: the environment needs no conda."""
    requirements: list[str]
    constraints: list[str]


def parse_conda(text: str, read: Read | None = None, source: str = "conda.yml") -> dict[str, Any]:
    """The canonical definition: `{"channels": […], "dependencies": ["python=3.10", {"pip": […]}]}`.

    `channels` is there only when the file names some. `read` reads what a pip section includes. Refused, with the line,
    for broken YAML, unknown keys, wrong types and secrets.
    """
    return _Checked(read_document(text, source), read).definition()


def inline_conda(content: dict[str, Any], read: Read | None = None, source: str = "outhaul.yaml") -> dict[str, Any]:
    """The canonical definition of a conda YAML's content that stands inside another file."""
    return _Checked(Document(source, _items(content), ()), read).definition()


def conda_variables(text: str, source: str = "conda.yml") -> dict[str, str]:
    """The file's `variables`: env vars of the runs, no part of the hash."""
    return _Checked(read_document(text, source), None).variables()


def take_apart(definition: dict[str, Any] | None) -> Parts:
    """A canonical definition (None: just Python) → what each installer does of it."""
    definition = definition or {"dependencies": []}
    named = [(*_named(spec), spec) for spec in definition["dependencies"] if isinstance(spec, str)]
    constraints = {name: constraint for name, constraint, _ in named}
    lines = [line for item in definition["dependencies"] if isinstance(item, dict) for line in item["pip"]]
    requirements, pip_constraints = split_constraints(lines)
    return Parts(
        python=constraints.get("python"),
        pip=constraints.get("pip"),
        channels=definition.get("channels", []),
        conda=[spec for name, _, spec in named if name not in ("python", "pip")],
        requirements=requirements,
        constraints=pip_constraints,
    )


def pip_requirement(constraint: str) -> str:
    """A conda constraint on pip as pip itself writes it: `=23.1` → `pip==23.1.*`."""
    fuzzy = re.fullmatch(r"=([\d.]+?)(?:\.?\*)?", constraint)
    if fuzzy:
        return f"pip=={fuzzy[1]}.*"
    if "|" in constraint:
        raise Refused(
            "pip-constraint",
            "alternative versions of pip cannot be installed",
            found=f"pip{constraint}",
            expected="one range, such as `pip>=23,<25`",
            remedy="correct the pip line among the dependencies",
        )
    return "pip" + (f"=={constraint}" if constraint[:1].isdigit() else constraint)


def _named(spec: str) -> tuple[str, str]:
    """`conda-forge::python=3.10=*_cpython` → (`python`, `=3.10`): the build is conda's alone."""
    match = _SPEC.fullmatch(spec)
    if match is None:
        return "", ""
    constraint = match["constraint"].strip()
    bracketed = re.fullmatch(r"\[version=['\"]?([^'\"\]]*)['\"]?\]", constraint)
    constraint = bracketed[1] if bracketed else constraint.partition(" ")[0]
    return match["name"].lower(), re.sub(r"(?<=[\d*])=(?!=).*$", "", constraint)


def _items(value: Any) -> Item:
    if isinstance(value, dict):
        return Item({key: _items(child) for key, child in value.items()}, 0)
    return Item([_items(child) for child in value], 0) if isinstance(value, list) else Item(value, 0, str(value))


class _Checked:
    """One conda file's content; every refusal names the file and the line."""

    def __init__(self, document: Document, read: Read | None) -> None:
        self._document = document
        self._read = read
        self._entries = self._mapping(document.root)
        self._check_keys()

    def definition(self) -> dict[str, Any]:
        if "dependencies" not in self._entries:
            raise self._refuse(self._document.root, "`dependencies:` with a list", "the conda file has no dependencies")
        channels = [self._channel(item) for item in self._sequence(self._entries.get("channels", Item([], 1)))]
        dependencies = [self._dependency(item) for item in self._sequence(self._entries["dependencies"])]
        return {**({"channels": channels} if channels else {}), "dependencies": dependencies}

    def variables(self) -> dict[str, str]:
        variables = self._mapping(self._entries.get("variables", Item({}, 1)))
        return {name: self._scalar(item) for name, item in variables.items()}

    def _check_keys(self) -> None:
        for name, item in self._entries.items():
            if name not in KEYS:
                near = difflib.get_close_matches(name, KEYS, 1)
                expected = f"did you mean `{near[0]}`?" if near else f"one of {', '.join(KEYS)}"
                raise self._refuse(item, expected, f"the conda file has an unknown key `{name}`")

    def _channel(self, item: Item) -> str:
        text = self._text(item)
        if _TOKEN.search(text):
            raise Refused(
                "conda-credentials",
                "a channel holds a password or a token",
                found=f"{self._document.name} line {item.line}",
                expected="channels without secrets: definitions are kept in records",
                remedy="log in where builds run: `rattler auth login` keeps the secret for all builds of this user",
            )
        return text

    def _dependency(self, item: Item) -> str | dict[str, list[str]]:
        if isinstance(item.value, dict):
            if set(item.value) != {"pip"}:
                raise self._refuse(item, "a package, or `pip:` with a list")
            lines = [line for child in self._sequence(item.value["pip"]) for line in self._lines(child)]
            return {"pip": canonical_lines(lines, self._read)}
        text = _AROUND.sub(r"\1", " ".join(self._text(item).split()))
        if "://" not in text and not _SPEC.fullmatch(text):
            raise self._refuse(item, "a package such as `numpy`, `numpy=1.24` or `numpy>=1.24,<2`")
        return text

    def _lines(self, item: Item) -> Iterator[Line]:
        return logical_lines(self._text(item), self._document.name, item.line)

    def _mapping(self, item: Item) -> dict[str, Item]:
        if not isinstance(item.value, dict):
            raise self._refuse(item, "a mapping (`key: value`)")
        return item.value

    def _sequence(self, item: Item) -> list[Item]:
        if not isinstance(item.value, list):
            raise self._refuse(item, "a list (`- item` lines)")
        return item.value

    def _scalar(self, item: Item) -> str:
        if isinstance(item.value, dict | list):
            raise self._refuse(item, "one value")
        return item.text

    def _text(self, item: Item) -> str:
        if not isinstance(item.value, str) or not item.value.strip():
            raise self._refuse(item, "text (quote a number that is meant as text)")
        return item.value.strip()

    def _refuse(
        self, item: Item, expected: str, message: str = "the conda file does not read as a conda environment"
    ) -> Refused:
        found = self._document.at(item.line) if item.line else f"{self._document.name}: {item.plain()!r}"
        return Refused("conda-file", message, found=found, expected=expected, remedy=f"correct {self._document.name}")
