"""What of a script's output reaches the Prefect log."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from outhaul.run.log_relay import HEAD_LINES, LINES_PER_SECOND, LONGEST_LINE, TAIL_LINES, LogRelay


def lines(first: int, last: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(first, last))


def test_a_quiet_script_is_passed_on_whole() -> None:
    relay = LogRelay()
    assert relay.feed(b"a\nb\n", 0.0) == ["a", "b"]
    assert relay.close() == []


@given(st.binary(max_size=300), st.integers(1, 20))
def test_how_the_bytes_are_cut_changes_nothing(data: bytes, size: int) -> None:
    whole, parts = LogRelay(), LogRelay()
    expected = whole.feed(data, 0.0) + whole.close()
    found = [line for start in range(0, len(data), size) for line in parts.feed(data[start : start + size], 0.0)]
    assert found + parts.close() == expected


def test_a_last_line_without_its_end_comes_at_the_end() -> None:
    relay = LogRelay()
    assert relay.feed(b"a\nb", 0.0) == ["a"]
    assert relay.close() == ["b"]


def test_a_chatty_script_keeps_its_first_and_last_lines_and_says_how_many_are_missing() -> None:
    relay, many = LogRelay(), 10_000
    now = relay.feed(lines(0, many), 0.0)
    assert now == [f"line {n}" for n in range(HEAD_LINES)]
    note, *tail = relay.close()
    assert f"{many - HEAD_LINES - TAIL_LINES} lines" in note
    assert tail == [f"line {n}" for n in range(many - TAIL_LINES, many)]


def test_between_head_and_tail_a_second_has_few_lines() -> None:
    relay = LogRelay()
    relay.feed(lines(0, HEAD_LINES), 0.0)
    for second in (1.0, 2.0):
        assert len(relay.feed(lines(0, 500), second)) == LINES_PER_SECOND


def test_no_line_is_passed_on_twice() -> None:
    relay = LogRelay()
    passed = [line for second in range(300) for line in relay.feed(lines(second * 10, second * 10 + 10), float(second))]
    passed += relay.close()
    assert passed == [f"line {n}" for n in range(3000)]


def test_a_progress_bar_without_line_ends_stays_one_line_of_bounded_length() -> None:
    relay = LogRelay()
    for _ in range(100):
        assert relay.feed(b"=" * 1000, 0.0) == []
    assert relay.close() == ["=" * LONGEST_LINE]


def test_bytes_that_are_no_text_do_not_stop_it() -> None:
    assert LogRelay().feed(b"\xff\xfe\r\n", 0.0) == ["��"]
