"""`python -m outhaul.node --home DIR`: the daemon behind `outhaul up`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from outhaul.home import Home
from outhaul.node.daemon import run_node
from outhaul.node.replica_app import ScoringLauncher


def main() -> int:
    """Run until SIGTERM. 0 also when another node runs for this home: then there is nothing to do."""
    parser = argparse.ArgumentParser(
        prog="python -m outhaul.node", description="Keeps one machine's processes running."
    )
    parser.add_argument("--home", required=True, help="the folder OUTHAUL_HOME")
    home = Home(Path(parser.parse_args().home).absolute())
    return run_node(home, ScoringLauncher(home))


if __name__ == "__main__":
    sys.exit(main())
