"""The step table, for terminals and for the Prefect UI. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from outhaul.run.record import Run, Step, StepState

COLUMNS = ("step", "seconds", "state", "what")


def step_rows(steps: Sequence[Step]) -> list[tuple[str, str, str, str]]:
    """(step, seconds, state, what) for each step."""
    return [(step.name, f"{step.seconds:.2f}", step.state.value, step.note) for step in steps]


def step_table(run: Run) -> str:
    """Markdown: how the run went, step by step."""
    lines = [f"# {run.name}", "", f"**{run.state}**", ""]
    if run.error:
        lines += [_error_block(run), ""]
    lines += ["| " + " | ".join(COLUMNS) + " |", "|-|-:|-|-|"]
    lines += ["| " + " | ".join(_cell(text) for text in row) + " |" for row in step_rows(run.steps)]
    if run.models:
        lines += ["", "Models: " + ", ".join(f"`{model}`" for model in run.models)]
    if run.metrics:
        lines += ["", "Metrics: " + ", ".join(f"`{name}` = {value}" for name, value in sorted(run.metrics.items()))]
    if run.scoring_uri:
        lines += ["", f"Scoring URL: {run.scoring_uri}"]
    return "\n".join(lines) + "\n"


def reused_everything(run: Run) -> bool:
    """Whether nothing was rebuilt, retrained or rolled out."""
    states = {step.name: step.state for step in run.steps}
    return bool(run.reused_from) and states.get("roll_out_service", StepState.REUSED) is StepState.REUSED


def _error_block(run: Run) -> str:
    error = run.error or {}
    parts = [f"> {error.get('message', '')}"]
    parts += [f"> {label}: {_quoted(error[label])}" for label in ("found", "expected", "remedy") if error.get(label)]
    return "\n>\n".join(parts)


def _quoted(text: str) -> str:
    return text.replace("\n", "\n> ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "; ")
