"""What uv says when it fails → the error whose type tells whether to try again. Pure.

Only the lines of uv's own report count (`error:`, `cause:`, `hint:` and the older tree signs): a package's build script
may print anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from outhaul.adapters.build_process import Ended
from outhaul.errors import Denied, Failed, OuthaulError, Unreachable

_REPORT = re.compile(r"\s*(?:(?:error|cause|hint|Caused by):|[×├╰])")
_OFFLINE = re.compile(r"network (?:was|is) disabled|Network connectivity is disabled")
_DENIED = re.compile(r"401 Unauthorized|403 Forbidden|lack of valid authentication")
_UNTRUSTED = re.compile(r"invalid peer certificate|certificate verify failed", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|Disk quota exceeded")
_NETWORK = re.compile(
    r"error sending request|dns error|tcp connect error|Connection (?:refused|reset|aborted)|connection closed"
    r"|operation timed out|timed out|HTTP status server error|429 Too Many Requests|request or response body error"
    r"|network is unreachable|Could not resolve host",
    re.IGNORECASE,
)
_MOST_LINES = 30

_Kind = tuple[re.Pattern[str], Callable[..., OuthaulError], str, str, str]
_KINDS: list[_Kind] = [
    (_FULL, Failed, "disk-full", "no space left for the environment", "free space, then try again"),
    (
        _OFFLINE,
        Unreachable,
        "package-index-offline",
        "a package is not in the cache and the network is off",
        "build once with the network on (unset UV_OFFLINE), or use versions that are cached",
    ),
    (
        _DENIED,
        Denied,
        "package-index-denied",
        "the package index refuses access",
        "give the index's credentials by UV_INDEX_<NAME>_USERNAME and _PASSWORD, or ~/.netrc",
    ),
    (
        _UNTRUSTED,
        Failed,
        "package-index-untrusted",
        "the package index shows a certificate that this machine does not trust",
        "set SSL_CERT_FILE to a bundle that holds the certificate authority of your network",
    ),
    (
        _NETWORK,
        Unreachable,
        "package-index-unreachable",
        "the package index does not answer",
        "check the network and UV_DEFAULT_INDEX, then try again",
    ),
]


def failure(ended: Ended, log: str) -> OuthaulError:
    """The error for a uv that failed. `log` is where the whole output stands."""
    report = [line for line in ended.lines if _REPORT.match(line)]
    found = reason(ended.lines)
    for pattern, kind, code, message, remedy in _KINDS:
        if any(pattern.search(line) for line in report):
            return kind(code, message, found=found, remedy=f"{remedy}\nlog: {log}")
    if ended.exit_code < 0:
        found = f"uv was ended by signal {-ended.exit_code}\n{found}"
    return Failed(
        "environment-build-failed",
        "the environment cannot be built",
        found=found,
        expected="packages that fit together and this Python",
        remedy=f"change the dependencies as the reason says\nlog: {log}",
    )


def reason(lines: Sequence[str]) -> str:
    """The report's lines from its first on, without what came before; the last lines where there is no report."""
    starts = [number for number, line in enumerate(lines) if re.match(r"\s*(?:error:|×)", line)]
    return "\n".join(lines[starts[-1] :][:_MOST_LINES] if starts else lines[-_MOST_LINES:]).strip()
