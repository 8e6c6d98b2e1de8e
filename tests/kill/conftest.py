"""The fixtures of the flow tests: one Prefect server, a machine per module."""

from __future__ import annotations

from tests.flows.conftest import bytecode, machine, prefect_api

__all__ = ["bytecode", "machine", "prefect_api"]
