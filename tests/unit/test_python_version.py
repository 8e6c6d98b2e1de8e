"""Which Python answers which constraint."""

from __future__ import annotations

import pytest

from outhaul.environment.python_version import allows, allows_minor, best, nearest_minor, parse_version
from outhaul.errors import Refused

AT_HAND = [(3, 8, 18), (3, 10, 13), (3, 11, 2), (3, 11, 7), (3, 12, 1)]


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        ("", (3, 11, 7), None),
        ("*", (3, 11, 7), None),
        ("=3.10", (3, 10, 13), (3, 11, 7)),
        ("=3.1", (3, 1, 0), (3, 10, 13)),
        ("3.10.*", (3, 10, 13), (3, 11, 7)),
        ("==3.10.4", (3, 10, 4), (3, 10, 13)),
        ("3.10.4", (3, 10, 4), (3, 10, 13)),
        (">=3.9,<3.12", (3, 11, 7), (3, 12, 1)),
        (">3.9", (3, 9, 1), (3, 9, 0)),
        ("<=3.11", (3, 11, 0), (3, 11, 7)),
        ("!=3.10.*", (3, 11, 7), (3, 10, 13)),
        ("~=3.10", (3, 12, 1), (3, 9, 0)),
        ("~=3.10.2", (3, 10, 13), (3, 11, 0)),
        ("=3.8|=3.12", (3, 12, 1), (3, 11, 7)),
    ],
)
def test_a_constraint_allows_what_conda_would(
    constraint: str, allowed: tuple[int, ...], refused: tuple[int, ...] | None
) -> None:
    assert allows(constraint, allowed)
    assert refused is None or not allows(constraint, refused)


@pytest.mark.parametrize(
    ("constraint", "chosen"),
    [
        ("", (3, 11, 7)),
        ("=3.10", (3, 10, 13)),
        ("==3.10.4", (3, 10, 13)),
        ("==3.11.2", (3, 11, 2)),
        (">=3.12", (3, 12, 1)),
        ("<3.11", (3, 10, 13)),
        ("=3.9", None),
        ("=2.7", None),
    ],
)
def test_of_those_at_hand_the_best_is_taken_and_never_another_minor(
    constraint: str, chosen: tuple[int, ...] | None
) -> None:
    assert best(constraint, AT_HAND, (3, 11, 7)) == chosen
    assert chosen is None or allows_minor(constraint, chosen)


@pytest.mark.parametrize(
    ("constraint", "minor"), [(">=3.13", (3, 13)), ("<3.10", (3, 9)), ("!=3.11.*", (3, 10)), ("=2.7", None)]
)
def test_the_minor_to_fetch_is_the_one_nearest_to_ours(constraint: str, minor: tuple[int, ...] | None) -> None:
    assert nearest_minor(constraint, (3, 11, 7)) == minor


def test_a_constraint_that_is_none_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        allows("=three", (3, 11, 7))
    assert caught.value.found == "=three"


def test_a_suffix_of_a_version_is_left_out() -> None:
    assert parse_version("3.14.0rc2") == (3, 14, 0)
