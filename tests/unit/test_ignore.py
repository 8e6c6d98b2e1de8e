"""Ignore rules, against git itself: the same tree, the same ignore files, `git check-ignore`'s answer."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from outhaul.snapshot.entry_name import name_problem
from outhaul.snapshot.ignore import IgnoreFile, parse_line
from outhaul.snapshot.tree import find_project_files

GIT_ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}


def make_repository(root: Path) -> None:
    """What `git init` makes, as far as git needs it to recognise the folder; four times faster."""
    for folder in (".git/objects", ".git/refs"):
        (root / folder).mkdir(parents=True)
    (root / ".git/HEAD").write_text("ref: refs/heads/main\n")


def kept_by_git(root: Path, paths: list[bytes]) -> set[bytes]:
    """The paths that git would not ignore."""
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin", "-z"],
        cwd=root,
        input=b"".join(b"./%s\0" % path for path in paths),  # `:` at the beginning would mean something else to git
        capture_output=True,
        env=GIT_ENV,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    return set(paths) - {path.removeprefix(b"./") for path in done.stdout.split(b"\0")}


def all_files(root: Path) -> list[bytes]:
    found: list[bytes] = []
    for folder, subfolders, names in os.walk(os.fsencode(root)):
        subfolders[:] = [name for name in subfolders if name != b".git"]
        found += [os.path.relpath(os.path.join(folder, name), os.fsencode(root)) for name in names]
    return found


def kept_by_us(root: Path) -> set[bytes]:
    return {os.fsencode(file.path) for file in find_project_files(root).files}


def build(root: Path, files: list[bytes], ignore_files: dict[bytes, bytes], links: list[bytes] | None = None) -> None:
    """A tree of empty files, ignore files, and links to the root's ignore file."""
    make_repository(root)
    contents = {**dict.fromkeys(files, b""), **ignore_files}
    for path, content in contents.items():
        place = os.path.join(os.fsencode(root), path)
        try:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            Path(os.fsdecode(place)).write_bytes(content)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            continue  # a generated name is a file here and a folder there
    for link in links or []:
        with suppress(FileExistsError, FileNotFoundError, NotADirectoryError):  # likewise
            os.symlink(os.fsencode(root / ".gitignore"), os.path.join(os.fsencode(root), link))


NAME_CHARACTERS = st.sampled_from(
    ["a", "b", "c", "B", " ", "é", "[", "]", "#", "!", "\\", "-", ".", "*", "?", ":", "\n"]
)
ODD_NAMES = st.text(NAME_CHARACTERS, min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
NAMES = st.one_of(st.sampled_from(["a", "b", "ab", "abc", "a.b", "data", "keep"]), ODD_NAMES)
PATHS = (
    st.lists(NAMES, min_size=1, max_size=4)
    .map("/".join)
    .filter(lambda path: name_problem(path) is None)
    .map(os.fsencode)
)
PIECES = st.sampled_from(
    [
        *"abc *?!#/\\.-é",
        *("**", "/**/", "**/", "/**", "***", "a/", "/a", "a/b", "!a", "!/", "\\ ", "  ", "\\*", "\\#", "\\!", "\\\\"),
        *(
            "[ab]",
            "[!a]",
            "[^a]",
            "[a-c]",
            "[]a]",
            "[a",
            "[!]a]",
            "[[:alpha:]]",
            "[[:nope:]]",
            "[[:a]",
            "[\\]]",
            "[a-]",
        ),
        *("data/", "keep", "*.b", "a*", "\r", "[--a]", "[a\\-c]", "[[:space:]b]", "\\/", "/"),
    ]
)
LINES = st.one_of(
    st.lists(PIECES, min_size=1, max_size=5).map("".join),
    st.tuples(st.sampled_from(["", "!"]), PATHS.map(os.fsdecode), st.sampled_from(["", "/", "/*", "/**", " "])).map(
        "".join
    ),
)
CONTENTS = st.lists(LINES, max_size=6).map(lambda lines: os.fsencode("\n".join(lines)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.lists(PATHS, min_size=1, max_size=12),
    rules=CONTENTS,
    nested=st.dictionaries(PATHS, CONTENTS, max_size=3),
    links=st.lists(PATHS, max_size=3),
)
@example(files=[b"data/keep", b"data/a"], rules=b"data/\n!data/keep", nested={}, links=[])
@example(files=[b"a/x/b", b"ab", b"ax/b"], rules=b"a**/b", nested={}, links=[])
@example(files=["é".encode(), b"a"], rules=b"?", nested={}, links=[])
@example(files=[b"a/b", b"b"], rules=b"", nested={b"a": b"/b\n!/a"}, links=[])
@example(files=[b"a/b/c", b"a/c"], rules=b"*\n!*/\n!c", nested={b"a": b"c"}, links=[])
@example(files=[b"data/a"], rules=b"data/", nested={b"data": b"!a"}, links=[b"a"])
def test_keeps_exactly_the_files_that_git_keeps(
    tmp_path_factory: pytest.TempPathFactory,
    files: list[bytes],
    rules: bytes,
    nested: dict[bytes, bytes],
    links: list[bytes],
) -> None:
    root = tmp_path_factory.mktemp("tree")
    below = {folder + b"/.gitignore": text for folder, text in nested.items()}
    build(root, files, {b".gitignore": rules, **below}, links)

    assert kept_by_us(root) == kept_by_git(root, all_files(root))


@pytest.mark.parametrize(
    "named",
    ["alnum", "alpha", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "xdigit"],
)
@pytest.mark.parametrize("negated", ["", "!"])
def test_named_classes_hold_the_same_characters_as_in_git(tmp_path: Path, named: str, negated: str) -> None:
    make_repository(tmp_path)
    rules = f"[{negated}[:{named}:]]x".encode()
    (tmp_path / ".gitignore").write_bytes(rules)
    names = [bytes([byte]) + b"x" for byte in range(1, 128) if byte != ord("/")]

    ours = IgnoreFile(b"", rules)

    assert {name for name in names if not ours.verdict(name, False)} == kept_by_git(tmp_path, names)


def test_a_link_is_not_a_folder_for_patterns_with_a_slash_at_the_end(tmp_path: Path) -> None:
    build(tmp_path, [b"real/a", b"file"], {b".gitignore": b"linked/\nother/\n"})
    (tmp_path / "linked").symlink_to("file")

    assert b"linked" in kept_by_git(tmp_path, [b"linked"])
    assert b"linked" in kept_by_us(tmp_path)


def test_a_gitignore_that_is_a_link_or_a_folder_says_nothing(tmp_path: Path) -> None:
    build(tmp_path, [b"rules", b"a/b", b"c/.gitignore/b"], {})
    (tmp_path / "rules").write_text("b\n")
    (tmp_path / "a/.gitignore").symlink_to("../rules")

    assert kept_by_us(tmp_path) == kept_by_git(tmp_path, all_files(tmp_path))
    assert b"a/b" in kept_by_us(tmp_path)


def test_amlignore_at_the_root_is_the_only_ignore_file(tmp_path: Path) -> None:
    build(
        tmp_path,
        [b"a/kept", b"a/out", b"b"],
        {b".amlignore": b"a/out", b".gitignore": b"b", b"a/.gitignore": b"kept", b"a/.amlignore": b"kept"},
    )

    assert kept_by_us(tmp_path) == {b".amlignore", b".gitignore", b"a/.amlignore", b"a/.gitignore", b"a/kept", b"b"}


def test_amlignore_below_the_root_is_an_ordinary_file(tmp_path: Path) -> None:
    build(tmp_path, [b"a/b"], {b"a/.amlignore": b"b"})

    assert kept_by_us(tmp_path) == {b"a/b", b"a/.amlignore"}


def test_our_own_folder_and_git_s_stay_out_even_when_taken_back(tmp_path: Path) -> None:
    build(tmp_path, [b".outhaul/state", b"sub/.git/config", b"a"], {b".amlignore": b"!.outhaul/\n!.git/\n"})

    assert kept_by_us(tmp_path) == {b"a", b".amlignore"}


@pytest.mark.parametrize("line", [b"", b"   ", b"# note", b"/", b"!", b"[a", b"a\\", b"[[:nope:]]", b"!/"])
def test_lines_that_match_nothing_make_no_pattern(line: bytes) -> None:
    assert parse_line(line) is None
