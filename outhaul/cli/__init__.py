"""The command line. One file per noun; a command's module is imported when it is called, so that help stays quick."""

from __future__ import annotations

import sys

from outhaul.cli.root import outhaul


def main() -> None:
    """Run the command line; the exit status is in `docs/reference/cli.md`."""
    from outhaul.cli.errors import run_command

    sys.exit(run_command(outhaul, sys.argv[1:]))
