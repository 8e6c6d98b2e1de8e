"""HAProxy's runtime socket: commands out, text in, text parsed."""

from __future__ import annotations

import csv
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from outhaul.errors import Failed, Unreachable


@dataclass(frozen=True)
class RuntimeSocket:
    """One command per connection, as HAProxy means it for programs."""

    path: Path
    timeout_seconds: float = 5.0

    def ask(self, command: str) -> str:
        """HAProxy's answer. Unreachable when it does not run or does not answer in time."""
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.timeout_seconds)
                connection.connect(str(self.path))
                connection.sendall(command.encode() + b"\n")
                while part := connection.recv(1 << 16):
                    answer += part
        except OSError as error:
            raise Unreachable(
                "router-down",
                "HAProxy does not answer on its runtime socket",
                found=f"{type(error).__name__}: {error} ({self.path})",
                expected="a running HAProxy",
                remedy="start it with `outhaul up`; its log stands in the node's folder",
            ) from error
        return answer.decode(errors="replace").strip()

    def tell(self, command: str, expected: str = "") -> None:
        """A command whose answer is known. Failed when HAProxy answers anything else."""
        answer = self.ask(command)
        if answer != expected:
            raise Failed(
                "router-command",
                "HAProxy refused a change",
                found=f"{answer or 'no answer'!r} to `{command.splitlines()[0]}`",
                expected=repr(expected) if expected else "an empty answer",
                remedy="the agent tries again; if it lasts, restart the router with `outhaul down` and `outhaul up`",
            )

    def process(self) -> str:
        """The worker's pid."""
        for line in self.ask("show info").splitlines():
            if line.startswith("Pid:"):
                return line.partition(":")[2].strip()
        raise Unreachable("router-down", "HAProxy does not say which process it is", expected="`Pid:` in `show info`")

    def statistics(self) -> Iterator[Mapping[str, str]]:
        """One row for each backend and each server (types 2 and 4 of `show stat`)."""
        lines = self.ask("show stat -1 6 -1").splitlines()
        header = lines[0].removeprefix("# ").split(",") if lines else []
        return (dict(zip(header, row, strict=False)) for row in csv.reader(lines[1:]) if row)

    def servers(self) -> Iterator[Mapping[str, str]]:
        """One row for each server (`show servers state`): address and administrative state, which `show stat` hides
        while a server is down."""
        lines = self.ask("show servers state").splitlines()
        header = lines[1].removeprefix("# ").split() if len(lines) > 1 else []
        return (dict(zip(header, line.split(), strict=False)) for line in lines[2:] if line)

    def map(self, name: str) -> dict[str, str]:
        """A map's entries."""
        lines = (line.split(" ", 2) for line in self.ask(f"show map {name}").splitlines())
        return {fields[1]: fields[2] for fields in lines if len(fields) == 3}

    def replace_map(self, name: str, entries: Mapping[str, str]) -> None:
        """All entries at once. HAProxy reads a payload up to an empty line."""
        version = self.ask(f"prepare map {name}").rpartition(" ")[2]
        if not version.isdecimal():
            raise Failed("router-map", f"HAProxy cannot change the map {name}", found=version, expected="a version")
        lines = [f"{key} {value}" for key, value in entries.items()]
        for start in range(0, len(lines), 100):  # a command must fit HAProxy's buffer
            self.tell(f"add map @{version} {name} <<\n" + "\n".join(lines[start : start + 100]) + "\n")
        self.tell(f"commit map @{version} {name}")
