"""Which lines of a script's output reach the Prefect log: the first and last 1,000, and at most 20 a second between.

Storage gets every byte; this only keeps a chatty script from drowning the server. Pure: the clock is passed in.
"""

from __future__ import annotations

from collections import deque

HEAD_LINES = 1000
TAIL_LINES = 1000
LINES_PER_SECOND = 20
LONGEST_LINE = 2000
"""Characters of a line that are passed on; a progress bar without line ends would be one endless line."""


class LogRelay:
    """Feed it bytes as they come; it answers with the lines to pass on."""

    def __init__(self) -> None:
        self._rest = b""
        self._seen = 0
        self._second = -1
        self._in_second = 0
        self._tail: deque[tuple[str, bool]] = deque(maxlen=TAIL_LINES)
        self._left_out = 0

    def feed(self, data: bytes, now: float) -> list[str]:
        """The lines of `data` to pass on now. An unfinished last line waits for its end."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-LONGEST_LINE:]
        return [text for line in lines if (text := self._pass(_text(line), now)) is not None]

    def close(self) -> list[str]:
        """What of the last 1,000 lines was held back, after the script has ended."""
        lines = [text for text, passed in self._tail if not passed]
        if left_out := self._left_out - len(lines):
            lines.insert(0, f"… {left_out} lines left out; `outhaul run logs` has them all …")
        if self._rest:
            lines.append(_text(self._rest))
            self._rest = b""
        self._tail.clear()
        return lines

    def _pass(self, text: str, now: float) -> str | None:
        self._seen += 1
        if int(now) != self._second:
            self._second, self._in_second = int(now), 0
        self._in_second += 1
        passed = self._seen <= HEAD_LINES or self._in_second <= LINES_PER_SECOND
        self._tail.append((text, passed))
        self._left_out += not passed
        return text if passed else None


def _text(line: bytes) -> str:
    return line.rstrip(b"\r").decode("utf-8", "replace")[:LONGEST_LINE]
