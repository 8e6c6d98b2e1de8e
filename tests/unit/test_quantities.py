"""Amounts as people write them."""

from __future__ import annotations

import pytest

from outhaul.errors import Refused
from outhaul.project.quantities import bytes_text, parse_bytes, parse_duration, parse_replicas


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1.5 h", 5400), ("1d", 86400), (5, 5), ("7", 7)]
)
def test_a_length_of_time(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0s", "-1s", "1 week", 0, -3, "1h30m"])
def test_what_is_no_length_of_time(text: str | float) -> None:
    with pytest.raises(Refused, match="is no length of time"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 10**9),
        ("2G", 2 * 10**9),
        ("2GiB", 2 * 2**30),
        ("512Mi", 512 * 2**20),
        ("1.5 GB", 1_500_000_000),
        ("10kB", 10_000),
        ("100B", 100),
        ("4", 4 * 10**9),
        (0.5, 500_000_000),
    ],
)
def test_an_amount_of_memory(text: str | float, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "much", "0GB", "-1GB", "1XB", 0, -1])
def test_what_is_no_amount_of_memory(text: str | float) -> None:
    with pytest.raises(Refused, match="is no amount of memory"):
        parse_bytes(text)


def test_replicas() -> None:
    assert parse_replicas("3") == (3, 3)
    assert parse_replicas("2..4") == (2, 4)


@pytest.mark.parametrize("text", ["", "0", "4..2", "2..", "..4", "two", "-1", "1...3", "1.5"])
def test_what_is_no_number_of_replicas(text: str) -> None:
    with pytest.raises(Refused, match="is no number of replicas"):
        parse_replicas(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (14_230, "14.2 kB"), (3_100_000, "3.1 MB"), (2 * 10**12, "2.0 TB")],
)
def test_a_size_is_told_in_the_unit_that_fits(size: int, text: str) -> None:
    assert bytes_text(size) == text
