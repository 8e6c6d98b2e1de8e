"""Does for kept processes what the plan says, and writes down what becomes of them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import assert_never

from outhaul.adapters import processes, state_files
from outhaul.node import kept_plan, node_logs
from outhaul.node.files import NodeFolder
from outhaul.node.kept_plan import CheckKept, ForgetKept, KeptAction, KillKept, StartKept, StopKept
from outhaul.node.replica_life import Answer
from outhaul.node.state import KeptProcess, KeptState, ProcessId
from outhaul.node.watch import Watch, ask

log = logging.getLogger("outhaul.node")
CHECK_SECONDS = 2.0
CHECK_EVERY_SECONDS = 0.2


class KeptKeeper:
    """All kept processes of this machine."""

    def __init__(self, folder: NodeFolder, token_prefix: str, clock: Callable[[], float]) -> None:
        self._folder = folder
        self._prefix = token_prefix
        self._clock = clock
        self._states: dict[str, KeptState] = {}
        self._table: Mapping[str, KeptProcess] = {}
        self._watches: dict[str, Watch] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}

    @property
    def states(self) -> Mapping[str, KeptState]:
        """What was last seen, by name."""
        return self._states

    def running(self, least_order: int | None = None) -> list[KeptState]:
        """Those that have a process, of this order and above."""
        running = [state for state in self._states.values() if state.process]
        return [s for s in running if least_order is None or s.definition.order >= least_order]

    def adopt(self) -> None:
        """Take over what an earlier node started."""
        found = processes.by_token()
        for state in self._folder.states().values():
            members = found.get(state.token, [])
            process = state.process or processes.leader(members)
            if process and processes.alive(process):
                self._save(kept_plan.adopted(state, process))
                self._watch(state.name, processes.Started(process, None))
            else:
                self._end_children(state, members)
                self._save(kept_plan.lost(state, self._clock()))

    def tick(self, table: Mapping[str, KeptProcess]) -> None:
        """Start everything that is due now."""
        self._table = table
        for action in kept_plan.plan_kept(table, self._states, self._clock()):
            try:
                self._do(action)
            except Exception:  # one program's trouble must not keep the node from the others
                log.exception("%s failed; it will be tried again", action)

    async def close(self) -> None:
        """Stop watching; the processes go on."""
        for task in self._checks.values():
            task.cancel()
        for watch in self._watches.values():
            watch.close()

    def _do(self, action: KeptAction) -> None:
        match action:
            case StartKept(name=name):
                self._start(self._table[name])
            case CheckKept(name=name):
                self._check(name)
            case StopKept(name=name):
                self._stop(self._states[name])
            case KillKept(name=name):
                self._kill(self._states[name])
            case ForgetKept(name=name):
                del self._states[name]
                (self._folder.state / f"{name}.json").unlink(missing_ok=True)
            case _:
                assert_never(action)

    def _start(self, definition: KeptProcess) -> None:
        name = definition.name
        state = kept_plan.starting(definition, self._states.get(name), f"{self._prefix}kept/{name}", self._clock())
        self._save(state)
        cwd = Path(definition.cwd or self._folder.root)
        env_vars = {**os.environ, **definition.env_vars}
        try:
            started = processes.spawn(
                processes.Launch(definition.argv, env_vars, cwd, self._folder.log(name), state.token)
            )
        except Exception as error:
            self._save(kept_plan.ended(state, str(error), self._clock()))
            raise
        self._save(kept_plan.started(state, started.process, self._clock()))
        self._watch(name, started)

    def kill_all(self) -> None:
        """For those that take too long to stop."""
        for state in self.running():
            self._kill(state)

    def _check(self, name: str) -> None:
        if name not in self._checks:
            task = asyncio.ensure_future(self._checked(name))
            self._checks[name] = task
            task.add_done_callback(lambda task: self._checks.pop(name).cancelled() or task.result())

    async def _checked(self, name: str) -> None:
        before = self._states[name]
        if before.definition.ready:
            good = (await ask(before.definition.ready.http, CHECK_SECONDS)).answer is Answer.READY
        else:
            good = self._clock() - before.since >= kept_plan.SETTLED_SECONDS
        state = self._states.get(name)
        if good and state and state.process == before.process and state.stop_sent_at is None:
            self._save(kept_plan.became_ready(state, self._clock()))
        await asyncio.sleep(CHECK_EVERY_SECONDS)

    def _stop(self, state: KeptState) -> None:
        self._save(kept_plan.stop_sent(state, self._clock()))
        if state.process:
            processes.send(state.process, signal.Signals[state.definition.stop_signal])

    def _kill(self, state: KeptState) -> None:
        log.warning(
            "%s is killed: still running %g seconds after %s",
            state.name,
            state.definition.stop_seconds,
            state.definition.stop_signal,
        )
        if state.process:
            members = processes.by_token().get(state.token, [])
            processes.end_all([state.process, *processes.in_session(members, state.process)])

    def _watch(self, name: str, started: processes.Started) -> None:
        self._watches[name] = Watch(started, lambda reason: self._ended(name, reason))

    def _ended(self, name: str, reason: str) -> None:
        state = self._states[name]
        self._end_children(state, processes.by_token().get(state.token, []))
        del self._watches[name]
        words = node_logs.last_words(self._folder.log(name), lines=5)
        node_logs.note(self._folder.log(name), reason)
        self._save(kept_plan.ended(state, f"{reason}\n{words}".strip(), self._clock()))

    def _end_children(self, state: KeptState, members: list[ProcessId]) -> None:
        """Those that left the session (runs, say) are on their own: they have another keeper."""
        if state.process and (state.definition.ends_children or state.stop_sent_at is not None):
            processes.end_all(processes.in_session(members, state.process))

    def rotate_logs(self) -> None:
        for name in self._states:
            node_logs.rotate(self._folder.log(name))

    def _save(self, state: KeptState) -> None:
        if self._states.get(state.name) != state:
            self._states[state.name] = state
            state_files.write(self._folder.state / f"{state.name}.json", state)
