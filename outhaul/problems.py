"""Problems of the input, gathered so that a person hears of all of them at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from outhaul.errors import Refused


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `found` begins with `file:line` where there is one."""

    code: str
    message: str
    found: str = ""
    expected: str = ""
    remedy: str = ""

    def error(self) -> Refused:
        return Refused(self.code, self.message, found=self.found, expected=self.expected, remedy=self.remedy)


def problem_of(error: Refused) -> Problem:
    """The refusal as one entry of a list of problems."""
    return Problem(error.code, error.message, error.found, error.expected, error.remedy)


def refuse(problems: Sequence[Problem], where: str) -> None:
    """Raise Refused naming every problem, or return when there is none. `where` is what they are problems of."""
    if len(problems) == 1:
        raise problems[0].error()
    if problems:
        codes = {problem.code for problem in problems}
        raise Refused(
            codes.pop() if len(codes) == 1 else "project-problems",
            f"{where} has {len(problems)} problems",
            found="\n".join(f"{number}. {_told(problem)}" for number, problem in enumerate(problems, 1)),
            expected="\n".join(f"{number}. {p.expected}" for number, p in enumerate(problems, 1) if p.expected),
            remedy="\n".join(f"{number}. {p.remedy}" for number, p in enumerate(problems, 1) if p.remedy),
        )


def _told(problem: Problem) -> str:
    return f"{problem.message}: {problem.found}" if problem.found else problem.message
