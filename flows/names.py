"""What a flow run is called in the UI: the verb, and what it works on."""

from __future__ import annotations

from collections.abc import Callable

from prefect import runtime


def named(verb: str) -> Callable[[], str]:
    """A flow run's name: `deploy digits` where the service or project is known, else the reference's last part."""

    def name() -> str:
        parameters = runtime.flow_run.parameters
        overrides = parameters.get("overrides")
        project = str(parameters.get("project", "")).rstrip("/").rpartition("/")[2]
        return f"{verb} {parameters.get('service') or getattr(overrides, 'name', None) or project[:40]}"

    return name
