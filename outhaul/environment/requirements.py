"""Requirements text → canonical lines: one requirement or option each, in order, nothing that only people read.

Includes (`-r`, `-c`) are resolved through a reader and inlined: the lines say everything that will be installed.
A constraint becomes the line `--constraint <requirement>`. Pure.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from outhaul.errors import Refused

Read = Callable[[str], str]
"""The text of a file of the project, by its path relative to the project's root. OSError when it cannot be read."""

CONSTRAINT = "--constraint "
_INCLUDES = {"-r": False, "--requirement": False, "-c": True, "--constraint": True}
_OPTIONS = {
    "-i": "--index-url",
    "-f": "--find-links",
    **{name: name for name in ("--index-url", "--extra-index-url", "--find-links", "--no-binary", "--only-binary")},
}
_SWITCHES = ("--no-index", "--require-hashes", "--pre")
_OPTION = re.compile(r"(?P<name>--[a-z-]+|-[a-zA-Z])\s*=?\s*(?P<value>.*)")
_SPECIFIER = r"(?:===|~=|==|!=|<=|>=|<|>)\s*[^\s,;()<>=!~]+"
_SPECIFIERS = rf"{_SPECIFIER}(?:\s*,\s*{_SPECIFIER})*"
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_REQUIREMENT = re.compile(
    rf"(?P<name>{_NAME})\s*(?P<extras>\[[^\[\]]*\])?\s*"
    rf"(?:@\s*(?P<url>\S+)|\(\s*(?P<bracketed>{_SPECIFIERS})\s*\)|(?P<specifiers>{_SPECIFIERS}))?"
    r"\s*(?:;\s*(?P<marker>.*?))?\s*(?P<hashes>(?:(?<=\s)--hash[=\s]\s*\S+\s*)*)"
)
_CREDENTIALS = re.compile(r"://(?!\$\{)[^/@\s]*:(?!\$\{)[^/@\s]+@")
_LOCAL_SUFFIXES = (".whl", ".tar.gz", ".zip")


@dataclass(frozen=True)
class Line:
    """A logical line (continuations joined) and where it starts."""

    source: str
    number: int
    text: str

    def refuse(self, code: str, message: str, *, expected: str, remedy: str) -> Refused:
        found = f"{self.source} line {self.number}: {self.text}"
        return Refused(code, message, found=found, expected=expected, remedy=remedy)


@dataclass(frozen=True)
class _Reading:
    """Where the reader stands: the files it is inside of, and whether their lines are constraints."""

    read: Read | None
    inside: tuple[str, ...]
    constraint: bool = False


def parse_requirements(text: str, read: Read | None = None, source: str = "requirements.txt") -> dict[str, object]:
    """The conda definition that requirements text stands for: `{"dependencies": [{"pip": [line, …]}]}`.

    `source` is the text's path in the project; includes are relative to it. Refused, with file and line, for
    what cannot be read, what is no requirement, and what exists on one machine only.
    """
    return {"dependencies": [{"pip": canonical_lines(logical_lines(text, source), read)}]}


def canonical_lines(lines: Iterable[Line], read: Read | None = None) -> list[str]:
    """The lines as the environment hash sees them and as the installer gets them."""
    lines = list(lines)
    inside = (lines[0].source,) if lines else ()
    return list(_expand(lines, _Reading(read, inside)))


def split_constraints(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Canonical lines → (requirements and options, constraints)."""
    constraints = [line.removeprefix(CONSTRAINT) for line in lines if line.startswith(CONSTRAINT)]
    return [line for line in lines if not line.startswith(CONSTRAINT)], constraints


def logical_lines(text: str, source: str, first: int = 1) -> Iterator[Line]:
    """Lines without comments and blank ends, `\\` continuations joined, as pip reads them."""
    parts: list[str] = []
    start = first
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), first):
        comment = raw.lstrip().startswith("#")
        if not parts:
            start = number
        if raw.endswith("\\") and not comment:
            parts.append(raw[:-1])
            continue
        parts.append(" " + raw if comment and parts else raw)
        yield from _logical("".join(parts), source, start)
        parts = []
    yield from _logical("".join(parts), source, start)


def _logical(joined: str, source: str, number: int) -> Iterator[Line]:
    text = re.sub(r"(^|\s+)#.*$", "", joined).strip()
    if text:
        yield Line(source, number, text)


def _expand(lines: Iterable[Line], reading: _Reading) -> Iterator[str]:
    for line in lines:
        option = _OPTION.fullmatch(line.text)
        if option is None:
            yield (CONSTRAINT if reading.constraint else "") + _requirement(line)
        elif option["name"] in _INCLUDES:
            yield from _include(line, option["value"], replace(reading, constraint=_is_constraint(option, reading)))
        else:
            yield _option(line, option["name"], option["value"])


def _is_constraint(option: re.Match[str], reading: _Reading) -> bool:
    return reading.constraint or _INCLUDES[option["name"]]


def _include(line: Line, target: str, reading: _Reading) -> Iterator[str]:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(line.source), target))
    if "://" in target or path.startswith(("/", "../")):
        raise line.refuse(
            "requirements-include",
            f"`{target}` is outside the project",
            expected="a file inside the project folder",
            remedy="copy the file into the project",
        )
    if path in reading.inside:
        raise line.refuse(
            "requirements-cycle",
            f"`{path}` includes itself",
            expected="includes that end: " + " → ".join([*reading.inside, path]),
            remedy="remove one of these includes",
        )
    text = _read(line, path, reading.read)
    yield from _expand(logical_lines(text, path), replace(reading, inside=(*reading.inside, path)))


def _read(line: Line, path: str, read: Read | None) -> str:
    remedy = f"add `{path}` to the project, or write its lines here"
    if read is None:
        raise line.refuse("requirements-include", "an include cannot be read here", expected="lines", remedy=remedy)
    try:
        return read(path)
    except (OSError, UnicodeDecodeError) as error:
        message = f"the included file `{path}` cannot be read: {error}"
        raise line.refuse("requirements-include", message, expected="a UTF-8 text file", remedy=remedy) from error


def _option(line: Line, name: str, value: str) -> str:
    _check_credentials(line)
    if name in _SWITCHES and not value:
        return name
    if name in _OPTIONS and value and not (name in ("-f", "--find-links") and "://" not in value):
        return f"{_OPTIONS[name]} {' '.join(value.split())}"
    if name in ("-e", "--editable", "-f", "--find-links"):
        raise _local(line)
    raise line.refuse(
        "requirements-option",
        f"the option `{name}` has no meaning here",
        expected="a requirement, an include (-r, -c), or one of " + ", ".join([*list(_OPTIONS)[2:], *_SWITCHES]),
        remedy="remove the line; proxies, certificates and mirrors are settings of the machine (UV_… variables)",
    )


def _requirement(line: Line) -> str:
    _check_credentials(line)
    if re.match(r"(git|hg|svn|bzr)\+|https?://", line.text):
        return " ".join(line.text.split())
    match = _REQUIREMENT.fullmatch(line.text)
    if _is_local(line.text, match):
        raise _local(line)
    if match is None:
        raise line.refuse(
            "requirements-syntax",
            "a line is no requirement",
            expected="a package such as `numpy`, `numpy>=1.24,<2` or `numpy ; python_version < '3.12'`",
            remedy="correct the line",
        )
    return _canonical(match)


def _canonical(match: re.Match[str]) -> str:
    head = match["name"] + _squeezed(match["extras"]) + _squeezed(match["specifiers"] or match["bracketed"])
    if match["url"]:
        head += f" @ {match['url']}"
    if match["marker"]:
        head += f" ; {' '.join(match['marker'].split())}"
    hashes = re.findall(r"--hash[=\s]\s*(\S+)", match["hashes"])
    return " ".join([head, *(f"--hash={value}" for value in hashes)])


def _squeezed(text: str | None) -> str:
    return re.sub(r"\s+", "", text or "")


def _is_local(text: str, match: re.Match[str] | None) -> bool:
    if match is not None and match["url"]:
        return match["url"].startswith("file:") or "://" not in match["url"]
    head = re.split(r"\s*;|\s--", text, maxsplit=1)[0]
    return head.startswith((".", "/", "~", "file:")) or "/" in head or head.endswith(_LOCAL_SUFFIXES)


def _local(line: Line) -> Refused:
    return line.refuse(
        "requirements-local",
        "a requirement stands on one machine only",
        expected="packages of an index, `git+https://…@<commit>` or `https://…`",
        remedy="files of the project are importable as they are (remove the line); publish anything else to an index",
    )


def _check_credentials(line: Line) -> None:
    if not _CREDENTIALS.search(line.text):
        return
    shown = replace(line, text=_CREDENTIALS.sub("://***@", line.text))
    raise shown.refuse(
        "requirements-credentials",
        "a requirement holds a password",
        expected="URLs without user and password: the lines are kept in records",
        remedy="write `${NAME}` in place of the password and set that variable where builds run, or use ~/.netrc",
    )
