"""Following a run in the terminal: each step as it ends, the script's output as it comes, and the answer at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from outhaul.cli.output import fitted, print_json, program, workspace
from outhaul.errors import Failed, from_dict
from outhaul.ports import FlowRun
from outhaul.run.flow_folder import flow_is_alive, folder_of
from outhaul.run.lifecycle import request_cancel
from outhaul.run.record import Run, RunState, Step, StepState
from outhaul.run.report import reused_everything
from outhaul.store.keys import run_record
from outhaul.views import run_view
from outhaul.workspace import Workspace

POLL_SECONDS = 0.1
GRACE_SECONDS = 5.0
"""How long a flow's process may be gone before its run counts as dead: its last write may be under way."""
MARKS = {
    StepState.DONE: click.style("✓", fg="green"),
    StepState.REUSED: click.style("=", fg="cyan"),
    StepState.SKIPPED: click.style("-", dim=True),
    StepState.FAILED: click.style("✗", fg="red"),
}


def start_and_follow(
    start: Callable[[Workspace], FlowRun], output: str, detach: bool, request: Path | None = None
) -> None:
    """Start a flow run and follow it to its end. `request` is a file with a scoring request, for the closing hint."""
    opened = workspace()
    follow(opened, start(opened), output, detach, request)


def follow(
    opened: Workspace,
    started: FlowRun,
    output: str,
    detach: bool,
    request: Path | None = None,
    before: Run | None = None,
) -> None:
    """Show the run until it has ended; raises the run's own error when it failed.

    `before` is the run as it was when its flow was started again: an end that it tells of is not the one to wait for.
    """
    begun = time.monotonic()
    click.echo(f"run {started.id}\n    {started.url}", err=True)
    if detach:
        _print_detached(started, output)
        return
    try:
        run = _Follower(opened, started.id, before.ended_at if before else None).to_its_end()
    except KeyboardInterrupt:
        _ask(opened, started)
        return
    _print_end(run, output, time.monotonic() - begun, request)


class _Follower:
    """Prints what is new each time the record is read."""

    def __init__(self, opened: Workspace, run_id: str, earlier_end: str | None) -> None:
        self._opened = opened
        self._run_id = run_id
        self._earlier_end = earlier_end
        self._printed: set[str] = set()
        self._attempt, self._offset = 1, 0
        self._live = sys.stderr.isatty()
        click.echo(click.style(_columns(" ", "step", "seconds", "state", "what"), bold=True), err=True)
        self._last_alive = time.monotonic()

    def to_its_end(self) -> Run:
        while True:
            run = self._opened.records.find(run_record(self._run_id), Run)
            if run is not None and not (run.state.final and run.ended_at == self._earlier_end):
                self._print_new(run)
                if run.state.final:
                    return run
            self._check_alive(run)
            time.sleep(POLL_SECONDS)

    def _print_new(self, run: Run) -> None:
        self._clear()
        for step in run.steps:
            if step.name == "run_entry_script":
                self._print_output(run)
            if step.state is not StepState.RUNNING and step.name not in self._printed:
                self._printed.add(step.name)
                click.echo(_step_line(step), err=True)
        running = [step for step in run.steps if step.state is StepState.RUNNING]
        if self._live and running:
            text = f"… {running[-1].name}  {' '.join(running[-1].note.split())}"
            click.echo(fitted(text, err=True, taken=1), nl=False, err=True)

    def _print_output(self, run: Run) -> None:
        while self._attempt <= len(run.attempts):
            while data := self._opened.compute.read_log(run.id, self._attempt, self._offset):
                self._offset += len(data)
                text = data.decode("utf-8", "replace").rstrip("\n")
                click.echo("\n".join(f"  │ {line}" for line in text.split("\n")), err=True)
            if self._attempt == len(run.attempts):
                return
            self._attempt, self._offset = self._attempt + 1, 0

    def _clear(self) -> None:
        if self._live:
            click.echo("\r\x1b[2K", nl=False, err=True)

    def _check_alive(self, run: Run | None) -> None:
        if flow_is_alive(self._opened.settings.home, self._run_id):
            self._last_alive = time.monotonic()
        elif time.monotonic() - self._last_alive > GRACE_SECONDS:
            raise _dead(self._opened, self._run_id, run)


def _step_line(step: Step) -> str:
    return _columns(
        MARKS[step.state], step.name, f"{step.seconds:.2f} s", step.state.value, " ".join(step.note.split())
    )


def _columns(mark: str, name: str, seconds: str, state: str, note: str) -> str:
    # The mark stands outside: its colour has a length, but no width.
    return mark + fitted(f" {name:<27}{seconds:>9}  {state:<8}{note}".rstrip(), err=True, taken=1)


def _dead(opened: Workspace, run_id: str, run: Run | None) -> Failed:
    return Failed(
        "flow-died",
        "the flow's process ended before the run did",
        found=folder_of(opened.settings.home, run_id).tail() or "no word in its log",
        expected="a run that ends as Completed, Failed or Canceled",
        remedy=f"start it again with `outhaul run restart {run_id}`; what was done is not done twice",
    )


def _ask(opened: Workspace, started: FlowRun) -> None:
    """Ctrl-C: the run goes on by itself unless its owner says otherwise."""
    click.echo("", err=True)
    if sys.stdin.isatty() and click.confirm("Cancel the run? (no: it goes on without this terminal)", err=True):
        from outhaul.cli.starting import starter

        request_cancel(opened, started.id)
        starter(opened.settings).cancel(started.id)
        click.echo("the run is being stopped; what it wrote so far will be saved", err=True)
        sys.exit(130)
    click.echo(f"detached; follow it again with `outhaul run logs --follow {started.id}`", err=True)
    sys.exit(130)


def _print_detached(started: FlowRun, output: str) -> None:
    if output == "json":
        print_json({"id": started.id, "name": started.name, "flowRunUrl": started.url})
    else:
        click.echo(f"started; follow it with `outhaul run logs --follow {started.id}`")


def _print_end(run: Run, output: str, seconds: float, request: Path | None) -> None:
    if run.state is not RunState.COMPLETED:
        raise from_dict(run.error or {"code": "run-failed", "message": f"the run ended as {run.state}"})
    if output == "json":
        print_json(run_view(run, time.time()))
        return
    steps = sum(step.seconds for step in run.steps)
    click.echo(_columns(" ", "Prefect", f"{seconds - steps:.2f} s", "", "its import and its engine"), err=True)
    click.echo(_columns(" ", "from start to end", f"{seconds:.2f} s", "", ""), err=True)
    if reused_everything(run):
        click.echo("\nnothing was rebuilt, retrained or rolled out: everything was there already", err=True)
    click.echo()
    for line in closing_lines(run, program(), request):
        click.echo(line)


def closing_lines(run: Run, outhaul: str, request: Path | None) -> list[str]:
    """What a person wants next: where it answers, how to call it, where to look."""
    lines = [f"models        {', '.join(map(str, run.models))}"] if run.models else []
    if run.metrics:
        lines += ["metrics       " + ", ".join(f"{name} = {value}" for name, value in sorted(run.metrics.items()))]
    if run.scoring_uri:
        key = f"$({outhaul} service get-keys {run.service} --primary)"
        lines += [
            f"scoring URL   {run.scoring_uri}",
            f"keys          {outhaul} service get-keys {run.service}",
            'try it        curl -X POST -H "Authorization: Bearer ' + key + '" \\',
            f"                -H 'Content-Type: application/json' -d @{request or 'request.json'} \\",
            f"                {run.scoring_uri}",
        ]
    lines += [f"Prefect run   {run.flow_run_url}", f"this run      {outhaul} run show {run.id[:8]}"]
    if run.service:
        lines += [f"what next     {outhaul} service show {run.service}"]
        lines += [f"              {outhaul} service get-logs {run.service}", f"              {outhaul} status"]
    return lines
