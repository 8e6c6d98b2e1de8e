"""The router beside its peers: CPU per request and added latency. `python benchmarks/router.py [--json] [--rounds N]`

Each round measures every proxy once, so that what else the machine does hits all of them; figures are medians over the
rounds. CPU is user + system time of the proxy's processes. Needs wrk and nginx; a missing peer's row says what to do.
Targets: CPU at most 1.4 times a plain HAProxy's; at most 0.4 ms added to the median latency at one connection.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.router_peers import KEY, Bench, Proxy, backend, envoy, knative, nginx, ours, plain_haproxy

CONNECTIONS = 16
MOST_CPU_RATIO = 1.4
MOST_ADDED_MS = 0.4

WRK = f"""
wrk.method = "POST"
wrk.path = "/api/v1/service/bench/score"
wrk.body = '{{"data": [[1.5, 2.5, 3.5, 4.5]]}}'
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer {KEY}"
function done(summary, latency, requests)
  local e = summary.errors
  local errors = e.status + e.connect + e.read + e.write + e.timeout
  io.write(string.format('\\n{{"requests": %d, "errors": %d, "p50_us": %d, "p99_us": %d, "us": %d}}\\n',
    summary.requests, errors, latency:percentile(50), latency:percentile(99), summary.duration))
end
"""


@dataclass
class Row:
    """One proxy's figures, one entry per round."""

    name: str
    cpu_us: list[float] = field(default_factory=list)
    rps: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    """At one connection."""
    p99_ms: list[float] = field(default_factory=list)
    note: str = ""


def main() -> int:
    options = _options()
    for tool in ("wrk", "nginx"):
        if not shutil.which(tool):
            print(f"{tool} is missing: apt-get install {tool}", file=sys.stderr)
            return 1
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        try:
            rows = measure(bench, options.rounds, options.seconds)
        finally:
            bench.close()
    results = [summary(row, rows) for row in rows]
    met = targets(results)
    print(json.dumps({"rows": results, **met}, indent=1) if options.json else table(results, met))
    return 0


def measure(bench: Bench, rounds: int, seconds: int) -> list[Row]:
    script = bench.file("post.lua", WRK)
    direct = backend(bench)
    proxies: list[Proxy] = [direct]
    rows = {"direct": Row("direct")}
    starters: list[tuple[str, Callable[[Bench, int], Proxy | str]]] = [
        ("outhaul", ours),
        ("plain HAProxy", plain_haproxy),
        ("nginx", nginx),
        ("Envoy", envoy),
        ("Knative queue-proxy", knative),
    ]
    for name, start in starters:
        started = start(bench, direct.port)
        rows[name] = Row(name, note=started if isinstance(started, str) else "")
        if isinstance(started, Proxy):
            proxies.append(started)
    for number in range(rounds):
        # Every other round backwards: whoever is measured last is not always the same.
        for proxy in proxies if number % 2 == 0 else reversed(proxies):
            _one_round(proxy, rows[proxy.name], script, seconds)
    return list(rows.values())


def _one_round(proxy: Proxy, row: Row, script: str, seconds: int) -> None:
    before = proxy.cpu_seconds()
    busy = _wrk(proxy.port, CONNECTIONS, seconds, script)
    row.cpu_us.append(1e6 * (proxy.cpu_seconds() - before) / busy["requests"])
    row.rps.append(1e6 * busy["requests"] / busy["us"])
    alone = _wrk(proxy.port, 1, seconds, script)
    row.p50_ms.append(alone["p50_us"] / 1000)
    row.p99_ms.append(alone["p99_us"] / 1000)
    if busy["errors"] + alone["errors"]:
        row.note = f"{busy['errors'] + alone['errors']} errors"


def _wrk(port: int, connections: int, seconds: int, script: str) -> dict[str, int]:
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", script, f"http://127.0.0.1:{port}"]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return dict(json.loads(shown.strip().splitlines()[-1]))


def summary(row: Row, rows: Sequence[Row]) -> dict[str, float | str | None]:
    """Medians; ratios are the median of each round's ratio."""
    by_name = {other.name: other for other in rows}
    plain, direct = by_name["plain HAProxy"], by_name["direct"]
    proxied = row is not direct and row.cpu_us
    return {
        "name": row.name,
        "cpu_us": _median(row.cpu_us) if proxied else None,
        "cpu_ratio": _median([a / b for a, b in zip(row.cpu_us, plain.cpu_us, strict=True)]) if proxied else None,
        "rps": _median(row.rps),
        "p50_ms": _median(row.p50_ms),
        "p99_ms": _median(row.p99_ms),
        "added_ms": _median([a - b for a, b in zip(row.p50_ms, direct.p50_ms, strict=True)]) if proxied else None,
        "note": row.note,
    }


def targets(results: Sequence[dict[str, float | str | None]]) -> dict[str, bool]:
    own = next(row for row in results if row["name"] == "outhaul")
    return {
        "cpu_target_met": float(own["cpu_ratio"] or 0) <= MOST_CPU_RATIO,
        "latency_target_met": float(own["added_ms"] or 0) <= MOST_ADDED_MS,
    }


def table(results: Sequence[dict[str, float | str | None]], met: dict[str, bool]) -> str:
    columns = ("name", "cpu_us", "cpu_ratio", "rps", "p50_ms", "p99_ms", "added_ms", "note")
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in results]
    return "\n".join([*lines, "", *(f"{name}: {'yes' if value else 'NO'}" for name, value in met.items())])


def _cell(value: float | str | None) -> str:
    if isinstance(value, float):
        return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"
    return value or "–"


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each of the two measurements per proxy and round")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
