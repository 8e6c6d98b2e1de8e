"""Finds init() and run() in the score script, and sets around them what v1's scripts expect."""

from __future__ import annotations

import importlib.util
import itertools
import os
import sys
import traceback
from typing import Any, Iterator

from .calling import ScriptError, StringBody, choose_convention
from .config import Config

MODULE_NAME = "entry_module"
TREE_LINES = 200


def prepare(config: Config) -> None:
    """Environment variables, working directory, and the source directory as first entry of sys.path."""
    os.environ.update(config.env_vars())
    os.chdir(config.source_directory)
    sys.path.insert(0, config.source_directory)


def load(config: Config) -> tuple[Any, StringBody]:
    """The script's init and the convention to call its run with. ScriptError when one is missing or cannot be called;
    whatever the script raises while it is imported passes through."""
    path = config.script_path
    if not os.path.isfile(path):
        raise ScriptError(f"No score script at {path}.")
    spec = importlib.util.spec_from_file_location(MODULE_NAME, path)
    if spec is None or spec.loader is None:
        raise ScriptError(f"The score script at {path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[MODULE_NAME] = module  # pickle and dataclasses look a class's module up by name
    spec.loader.exec_module(module)
    for name in ("init", "run"):
        if not hasattr(module, name):
            raise ScriptError(f"User script at {path} does not have a {name}() function defined.")
    driver = getattr(module, "driver_module", None)
    run = getattr(driver, "run", None) or module.run  # v1's generated driver scripts stand before the real one
    return module.init, choose_convention(run)


def traceback_of(error: BaseException) -> str:
    """The traceback without the server's own frames."""
    if isinstance(error, ScriptError):
        return str(error)
    here, importer = os.path.dirname(os.path.abspath(__file__)), "importlib"
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        if not file.startswith(here) and importer not in file:
            break
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame)).rstrip()


def model_files(folder: str) -> list[str]:
    """The first lines of the model folder's tree, for the log of a failed init()."""
    lines = list(itertools.islice(_tree(folder, 0), TREE_LINES + 1))
    if len(lines) > TREE_LINES:
        lines[TREE_LINES] = f"Output Truncated. First {TREE_LINES} lines shown."
    return lines


def _tree(path: str, depth: int) -> Iterator[str]:
    name = "    " * depth + os.path.basename(os.path.normpath(path))
    if not os.path.isdir(path):
        yield name
        return
    yield name + os.sep
    for child in sorted(os.listdir(path)):
        yield from _tree(os.path.join(path, child), depth + 1)
