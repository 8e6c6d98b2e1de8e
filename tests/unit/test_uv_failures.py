"""What uv says in each case of failure → the error.

UNSATISFIABLE, OFFLINE, REFUSED, UNTRUSTED and UNAUTHORIZED are output of uv 0.13.9 with names and line ends changed.
The others are written after its style and that of older versions, and were not seen from a real uv.
"""

from __future__ import annotations

import pytest

from outhaul.adapters.build_process import Ended
from outhaul.adapters.uv_failures import failure
from outhaul.errors import Denied, Failed, Unreachable

UNSATISFIABLE = """\
Using Python 3.11.7 environment at: env
error: No solution found when resolving dependencies
  cause: Because there is no version of numpy==99.0 and you require numpy==99.0, we can conclude that your
         requirements are unsatisfiable."""
UNSATISFIABLE_OLDER = """\
  × No solution found when resolving dependencies:
  ╰─▶ Because there is no version of numpy==99.0 and you require numpy==99.0, we can conclude that your
      requirements are unsatisfiable."""
OFFLINE = """\
error: No solution found when resolving dependencies
  cause: Because mail was not found in the cache and you require mail, we can conclude that your requirements are
         unsatisfiable.

hint: Packages were unavailable because the network was disabled. When the network is disabled, registry packages may
only be read from the cache."""
REFUSED = """\
error: Failed to fetch: http://127.0.0.1:9/simple/mail/
  cause: error sending request for url (http://127.0.0.1:9/simple/mail/)
  cause: client error (Connect)
  cause: tcp connect error
  cause: Connection refused (os error 111)"""
REFUSED_OLDER = """\
error: Failed to fetch: `http://127.0.0.1:9/simple/mail/`
  Caused by: error sending request for url (http://127.0.0.1:9/simple/mail/)
  Caused by: tcp connect error: Connection refused (os error 111)"""
UNTRUSTED = """\
error: Failed to fetch: https://index.example.org/simple/mail/
  cause: error sending request for url (https://index.example.org/simple/mail/)
  cause: client error (Connect)
  cause: invalid peer certificate: UnknownIssuer"""
UNAUTHORIZED = """\
error: No solution found when resolving dependencies
  cause: Because mail was not found in the package registry and you require mail, we can conclude that your
         requirements are unsatisfiable.

hint: An index URL (https://index.example.org/simple) could not be queried due to a lack of valid authentication
credentials (401 Unauthorized)"""
GONE = """\
error: Failed to fetch: https://index.example.org/mail-1.0.whl
  cause: HTTP status client error (404 Not Found) for url (https://index.example.org/mail-1.0.whl)"""
BROKEN_BUILD = """\
error: Failed to build `mail==1.0`
  cause: The build backend returned an error
  cause: Call to `setuptools.build_meta.build_wheel` failed (exit status: 1)

         [stderr]
         gcc: Connection refused: timed out, dns error
         No space left on device, it says"""
FULL = """\
error: Failed to install: mail-1.0-py3-none-any.whl (mail==1.0)
  cause: failed to copy file: No space left on device (os error 28)"""


@pytest.mark.parametrize(
    ("output", "kind", "code"),
    [
        (UNSATISFIABLE, Failed, "environment-build-failed"),
        (UNSATISFIABLE_OLDER, Failed, "environment-build-failed"),
        (OFFLINE, Unreachable, "package-index-offline"),
        (REFUSED, Unreachable, "package-index-unreachable"),
        (REFUSED_OLDER, Unreachable, "package-index-unreachable"),
        (UNTRUSTED, Failed, "package-index-untrusted"),
        (UNAUTHORIZED, Denied, "package-index-denied"),
        (GONE, Failed, "environment-build-failed"),
        (BROKEN_BUILD, Failed, "environment-build-failed"),
        (FULL, Failed, "disk-full"),
        ("nothing that looks like a report", Failed, "environment-build-failed"),
    ],
)
def test_the_errors_type_tells_whether_to_try_again(output: str, kind: type, code: str) -> None:
    error = failure(Ended(1, output.splitlines()), "/logs/build.log")
    assert (type(error), error.code) == (kind, code)
    assert "/logs/build.log" in error.remedy


def test_the_reason_is_uvs_report_without_what_came_before() -> None:
    error = failure(Ended(1, UNSATISFIABLE.splitlines()), "build.log")
    assert error.found == UNSATISFIABLE.partition("\n")[2]


def test_an_installer_that_was_killed_says_by_which_signal() -> None:
    assert "signal 9" in failure(Ended(-9, ["Resolved 3 packages"]), "build.log").found
