"""`--reuse`: which earlier run made the same, so that its outputs serve again. Pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from outhaul.run.record import Run, RunState


class Ingredients(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides what an entry script writes, as far as Outhaul can know."""

    snapshot: str
    environment: str
    arguments: tuple[str, ...]
    data_digest: str

    @classmethod
    def of(cls, run: Run) -> Ingredients:
        return cls(
            snapshot=run.snapshot,
            environment=run.environment,
            arguments=tuple(run.arguments),
            data_digest=run.data_digest,
        )


def reusable_run(wanted: Ingredients, models: Iterable[str], runs: Iterable[Run]) -> Run | None:
    """The newest run that made the same and registered all of `models`; None when there is none.

    A run counts when its script ended well and its models were registered, even if a later step of it failed: what
    failed then was the rollout. A run that itself reused another's outputs leads back to that one.
    """
    names = set(models)
    made = [
        run
        for run in runs
        if run.outputs_saved
        and not run.reused_from
        and run.state in (RunState.COMPLETED, RunState.FAILED)
        and Ingredients.of(run) == wanted
        and names <= {ref.name for ref in run.models}
    ]
    return max(made, key=lambda run: run.created_at, default=None)
