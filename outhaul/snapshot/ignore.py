"""Which project files stay out of a snapshot, decided exactly as git decides it. Pure.

Names are bytes, as in git: `?` is one byte, so an `é` in UTF-8 takes two of them. The translation follows git's
`dir.c` and `wildmatch.c`, whose answers the tests compare with; general gitignore libraries differ in the corners.
"""

from __future__ import annotations

import re
from typing import NamedTuple

AMLIGNORE = b".amlignore"
GITIGNORE = b".gitignore"
ALWAYS_IGNORED = frozenset({b".git", b".outhaul"})

_SPECIAL = re.compile(rb"[*?\[\\]")
# Stands behind a folder's name while matching, where `only folders` patterns look for it. No name contains it.
_FOLDER = b"\0"
_ANYTHING = rb"[^\0]*"
_IN_FOLDER = rb"[^/\0]*"
_ONE = rb"[^/\0]"


class Pattern(NamedTuple):
    """One line of an ignore file as a regular expression over the name, or over the path below the ignore file."""

    regex: bytes
    by_name: bool
    """Whether it is matched against the last part of the path alone."""
    negated: bool


class IgnoreFile:
    """The patterns of one ignore file. `folder` is where it stands, relative to the root (empty for the root)."""

    def __init__(self, folder: bytes, content: bytes) -> None:
        patterns = parse(content)
        self._skip = len(folder) + 1 if folder else 0
        self._negated = [pattern.negated for pattern in patterns]
        self._by_name = _LastMatch([(i, p.regex) for i, p in enumerate(patterns) if p.by_name])
        self._by_path = _LastMatch([(i, p.regex) for i, p in enumerate(patterns) if not p.by_name])

    def verdict(self, path: bytes, is_folder: bool) -> bool | None:
        """True: ignored, False: taken back by a `!` pattern, None: no pattern speaks of it. The last match decides."""
        mark = _FOLDER if is_folder else b""
        name = path[path.rfind(b"/") + 1 :]
        last = max(self._by_name.index(name + mark), self._by_path.index(path[self._skip :] + mark))
        return None if last < 0 else not self._negated[last]


class Rules:
    """The ignore files that speak for one folder, the root's first. A deeper file overrules the ones above it.

    Ask from the root downwards and never descend into an ignored folder: that is what makes it impossible to take
    back a file under an ignored folder.
    """

    def __init__(self, files: tuple[IgnoreFile, ...] = ()) -> None:
        self._files = files

    def within(self, folder: bytes, content: bytes) -> Rules:
        """The rules below `folder`, which has an ignore file of its own."""
        return Rules((*self._files, IgnoreFile(folder, content)))

    def ignores(self, path: bytes, is_folder: bool) -> bool:
        """Whether `path` (slash-separated, relative to the root) stays out. A link is never a folder."""
        for file in reversed(self._files):
            verdict = file.verdict(path, is_folder)
            if verdict is not None:
                return verdict
        return False


class _LastMatch:
    """All patterns of one kind in one regular expression: its first alternative is the file's last pattern."""

    def __init__(self, numbered: list[tuple[int, bytes]]) -> None:
        self._numbers = [number for number, _ in reversed(numbered)]
        self._regex = re.compile(b"|".join(b"(%s)" % regex for _, regex in reversed(numbered))) if numbered else None

    def index(self, subject: bytes) -> int:
        """The number of the last pattern that matches, -1 for none."""
        match = self._regex.fullmatch(subject) if self._regex else None
        return self._numbers[match.lastindex - 1] if match and match.lastindex else -1


def parse(content: bytes) -> list[Pattern]:
    """The patterns of an ignore file in their order, without those that can never match."""
    content = content.removeprefix(b"\xef\xbb\xbf")
    lines = (line.removesuffix(b"\r") for line in content.split(b"\n"))
    return [pattern for line in lines if (pattern := parse_line(line)) is not None]


def parse_line(line: bytes) -> Pattern | None:
    """One line; None for an empty line, a comment, and a pattern that git can never match."""
    if line.startswith(b"#"):
        return None
    text = _trim(line.partition(b"\0")[0])
    negated = text.startswith(b"!")
    text = text[negated:]
    only_folders = text.endswith(b"/")
    text = text[: len(text) - only_folders]
    by_name = b"/" not in text
    regex = _translate(text.removeprefix(b"/"))
    if regex is None or not text:
        return None
    return Pattern(regex + (rb"\0" if only_folders else rb"\0?"), by_name, negated)


def _trim(line: bytes) -> bytes:
    """Without trailing spaces; a backslash keeps the space behind it."""
    end = len(line)
    while end and line[end - 1 : end] == b" ":
        end -= 1
    backslashes = end - len(line[:end].rstrip(b"\\"))
    keeps_one = end < len(line) and backslashes % 2
    return line[: end + 1] if keeps_one else line[:end]


def _translate(pattern: bytes) -> bytes | None:
    """git compares what stands before the first special character as it is, and only the rest is a glob of its own.
    That shows: in `a**/b` the stars stand at the beginning of the glob, so they span folders."""
    special = _SPECIAL.search(pattern)
    start = special.start() if special else len(pattern)
    glob = _translate_glob(pattern[start:])
    return None if glob is None else re.escape(pattern[:start]) + glob


def _translate_glob(glob: bytes) -> bytes | None:
    out: list[bytes] = []
    at = 0
    while at < len(glob):
        part, at = _translate_part(glob, at)
        if part is None:
            return None
        out.append(part)
    return b"".join(out)


def _translate_part(glob: bytes, at: int) -> tuple[bytes | None, int]:
    """The regular expression of the part at `at` (None: can never match) and where the next part begins."""
    match glob[at : at + 1]:
        case b"*":
            return _translate_stars(glob, at)
        case b"?":
            return _ONE, at + 1
        case b"[":
            return _translate_class(glob, at + 1)
        case b"\\":
            escaped = glob[at + 1 : at + 2]
            return (re.escape(escaped) if escaped else None), at + 2
        case literal:
            return re.escape(literal), at + 1


def _translate_stars(glob: bytes, at: int) -> tuple[bytes, int]:
    end = at
    while glob[end : end + 1] == b"*":
        end += 1
    whole_part = at == 0 or glob[at - 1 : at] == b"/"
    rest = glob[end:]
    if end - at == 1 or not whole_part or not (not rest or rest.startswith((b"/", b"\\/"))):
        return _IN_FOLDER, end
    if rest.startswith(b"/"):
        return rb"(?:%s/)?" % _ANYTHING, end + 1
    return _ANYTHING, end


def _translate_class(glob: bytes, at: int) -> tuple[bytes | None, int]:
    """`[…]` from behind its opening bracket. An unclosed one can never match."""
    negated = glob[at : at + 1] in (b"!", b"^")
    members, end = _class_members(glob, at + negated)
    if members is None:
        return None, end
    chosen = (set(range(256)) - members if negated else members) - {ord("/"), 0}
    return (b"[%s]" % b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) if chosen else rb"(?!)"), end


def _class_members(glob: bytes, at: int) -> tuple[set[int] | None, int]:
    """The bytes that a class names, and where the pattern goes on behind its `]`. A `]` in first place is itself."""
    members: set[int] = set()
    low = 0  # where a range may begin; 0 where it may not
    first = True
    while at < len(glob) and (first or glob[at] != ord("]")):
        first = False
        named = _NAMED_CLASS.match(glob, at)
        if glob[at] == ord("-") and low and at + 1 < len(glob) and glob[at + 1] != ord("]"):
            high, at = _class_byte(glob, at + 1)
            members.update(range(low, high + 1))
            low = 0
        elif named:
            if named[1] not in _NAMED:
                return None, at
            members |= _NAMED[named[1]]
            low, at = 0, named.end()
        else:
            low, at = _class_byte(glob, at)
            members.add(low)
    return (members, at + 1) if at < len(glob) else (None, at)


def _class_byte(glob: bytes, at: int) -> tuple[int, int]:
    if glob[at] == ord("\\"):
        at += 1
    return (glob[at], at + 1) if at < len(glob) else (0, at)


# `[:` up to the next `]`, which must stand behind a colon; otherwise the `[` is an ordinary member.
_NAMED_CLASS = re.compile(rb"\[:([^\]]*):\]")


_LOWER = set(range(ord("a"), ord("z") + 1))
_UPPER = set(range(ord("A"), ord("Z") + 1))
_DIGIT = set(range(ord("0"), ord("9") + 1))
_GRAPH = set(range(ord("!"), ord("~") + 1))
_NAMED = {
    b"alnum": _LOWER | _UPPER | _DIGIT,
    b"alpha": _LOWER | _UPPER,
    b"blank": {*b" \t"},
    b"cntrl": {*range(32), 127},
    b"digit": _DIGIT,
    b"graph": _GRAPH,
    b"lower": _LOWER,
    b"print": _GRAPH | {*b" "},
    b"punct": _GRAPH - _LOWER - _UPPER - _DIGIT,
    b"space": {*b" \t\n\r"},
    b"upper": _UPPER,
    b"xdigit": _DIGIT | {*b"abcdefABCDEF"},
}
