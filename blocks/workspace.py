"""The Workspace block: what an operator edits in the Prefect UI about where a workspace keeps its things."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import ClassVar, cast

from prefect.blocks.core import Block
from pydantic import Field

from outhaul.settings import read_settings
from outhaul.workspace import Workspace as LibraryWorkspace
from outhaul.workspace import open_workspace


class Workspace(Block):
    """Where a workspace keeps records, snapshots, outputs, models and environments.

    Every field may stay empty: the settings of the machine that runs the flow apply then.
    """

    _block_type_name: ClassVar[str | None] = "Outhaul Workspace"
    _block_type_slug: ClassVar[str | None] = "outhaul-workspace"
    _description: ClassVar[str | None] = "Where an Outhaul workspace keeps records, outputs, models and environments."

    home: str | None = Field(
        default=None,
        title="Home folder",
        description="Absolute path of the folder that holds everything, on the machine that runs the flow.",
    )
    global_environments: str | None = Field(
        default=None,
        title="Global environments",
        description="Absolute path of the store of environments that several workspaces share.",
    )
    slots: int | None = Field(default=None, ge=1, title="Slots", description="Runs that one machine executes at once.")

    def open(self) -> LibraryWorkspace:
        """The library's workspace that these fields describe."""
        fields = {
            "OUTHAUL_HOME": self.home,
            "OUTHAUL_GLOBAL_ENVIRONMENTS": self.global_environments,
            "OUTHAUL_SLOTS": None if self.slots is None else str(self.slots),
        }
        return open_workspace(read_settings({**os.environ, **{k: v for k, v in fields.items() if v is not None}}))


@lru_cache(maxsize=8)
def open_named(name: str) -> LibraryWorkspace:
    """The workspace of a saved block; for `default` without a saved block, the machine's own settings."""
    try:
        block = cast("Workspace", Workspace.load(name))
    except ValueError:
        # Prefect says "not found" by a ValueError. A name other than the default must be a saved block.
        if name != "default":
            raise
        block = Workspace()
    return block.open()
