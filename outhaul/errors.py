"""Every error that Outhaul raises on purpose. The type is the retry policy and the exit status.

OuthaulError
├── Permanent                    trying again changes nothing; exit status 1
│   ├── Refused                  the input is wrong; nothing was changed
│   ├── NotFound                 the named thing does not exist (and the place where it would be answered)
│   ├── Denied                   the place answered: you may not
│   ├── Conflict                 somebody else changed it, or is changing it (HTTP 409)
│   └── Failed                   the work itself failed: a build, an entry script, a rollout
│       └── Cancelled            a person asked for the work to stop
└── Temporary                    an outside cause; trying again may help; exit status 4
    ├── Unreachable              no answer from a store, a registry, a server
    └── Busy                     no free slot, port or lock before the time limit

"Not found", "denied" and "unreachable" are three errors on purpose: only the first one ever means "build it".
"""

from __future__ import annotations

from typing import Any, ClassVar


class OuthaulError(Exception):
    """Says what was found, what was expected and what to do next.

    `code` is a stable, lower-case, dashed word that scripts may match (`entry-script-missing`).
    `message` is one sentence without a trailing period; `found`, `expected` and `remedy` may span lines.
    """

    retry: ClassVar[bool] = False
    exit_status: ClassVar[int] = 1

    def __init__(self, code: str, message: str, *, found: str = "", expected: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        parts = [self.message]
        parts += [f"  {label}: {text}" for label, text in self._details() if text]
        return "\n".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        return _restore, (type(self), self.to_dict())

    def _details(self) -> list[tuple[str, str]]:
        return [("found", self.found), ("expected", self.expected), ("remedy", self.remedy)]

    def to_dict(self) -> dict[str, str | bool]:
        """The error as the command line prints it with `-o json`, and as run and service records keep it."""
        return {"code": self.code, "message": self.message, **dict(self._details()), "retry": self.retry}


def _restore(kind: type[OuthaulError], fields: dict[str, str]) -> OuthaulError:
    return kind(
        fields["code"],
        fields["message"],
        found=fields["found"],
        expected=fields["expected"],
        remedy=fields["remedy"],
    )


class Permanent(OuthaulError):
    """Trying again changes nothing."""


class Refused(Permanent):
    """The input is wrong; nothing was changed."""


class NotFound(Permanent):
    """The named thing does not exist."""


class Denied(Permanent):
    """The place answered: you may not."""


class Conflict(Permanent):
    """Somebody else changed it, or is changing it."""


class Failed(Permanent):
    """The work itself failed: a build, an entry script, a rollout."""


class Cancelled(Failed):
    """A person asked for the work to stop."""


class Temporary(OuthaulError):
    """An outside cause; trying again may help."""

    retry = True
    exit_status = 4


class Unreachable(Temporary):
    """No answer from a store, a registry or a server."""


class Busy(Temporary):
    """No free slot, port or lock before the time limit."""


def from_dict(fields: dict[str, Any]) -> OuthaulError:
    """The error that a record keeps, as one that can be raised: its retry policy and words, not its exact type."""
    kind = Temporary if fields.get("retry") else Failed
    details = {name: str(fields.get(name, "")) for name in ("found", "expected", "remedy")}
    return kind(str(fields.get("code", "failed")), str(fields.get("message", "it failed")), **details)
