"""Errors: the tree in the docstring is the real one, and what a record keeps can be raised again."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator

import pytest

from outhaul import errors
from outhaul.errors import Busy, Conflict, Failed, OuthaulError, Permanent, Refused, Temporary, from_dict


def told() -> Iterator[tuple[int, str]]:
    """(depth, name) of each line of the docstring's tree."""
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"^([│ ]*)[├└]── (\w+)", line):
            yield len(match[1]) // 4 + 1, match[2]


def real(kind: type[OuthaulError], depth: int = 1) -> Iterator[tuple[int, str]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield depth, child.__name__
            yield from real(child, depth + 1)


def test_the_tree_in_the_docstring_is_the_real_tree() -> None:
    assert list(told()) == list(real(OuthaulError))


def every_kind() -> list[type[OuthaulError]]:
    return [getattr(errors, name) for _, name in real(OuthaulError)]


@pytest.mark.parametrize("kind", every_kind())
def test_the_type_decides_about_retry_and_exit_status(kind: type[OuthaulError]) -> None:
    error = kind("some-code", "it failed")
    assert (error.retry, error.exit_status) == ((True, 4) if isinstance(error, Temporary) else (False, 1))
    assert isinstance(error, Permanent) != isinstance(error, Temporary)


@pytest.mark.parametrize("kind", every_kind())
def test_an_error_survives_the_way_to_another_process(kind: type[OuthaulError]) -> None:
    error = kind("some-code", "it failed", found="a", expected="b", remedy="c")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert copy.to_dict() == error.to_dict()


@pytest.mark.parametrize("error", [Refused("a", "b", found="c"), Conflict("a", "b"), Busy("a", "b", remedy="d")])
def test_what_a_record_keeps_can_be_raised_with_the_same_words_and_policy(error: OuthaulError) -> None:
    again = from_dict(error.to_dict())
    assert again.to_dict() == error.to_dict()
    assert again.exit_status == error.exit_status


def test_a_record_of_an_unknown_program_is_still_an_error() -> None:
    assert isinstance(from_dict({}), Failed)


def test_the_text_shows_only_what_is_known() -> None:
    assert str(Refused("a", "it is wrong", found="x", remedy="y")) == "it is wrong\n  found: x\n  remedy: y"
