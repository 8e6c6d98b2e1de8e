from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from outhaul.adapters.bundle import SOURCE, bundle_key, private_imports

PRIVATE = "_outhaul_scoring._vendor"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("import h11", f"from {PRIVATE} import h11"),
        ("    import uvloop as u", f"    from {PRIVATE} import uvloop as u"),
        ("import uvicorn.logging as l", f"import {PRIVATE}.uvicorn.logging as l"),
        ("from uvicorn.config import Config", f"from {PRIVATE}.uvicorn.config import Config"),
        ("from click import style", f"from {PRIVATE}.click import style"),
        ('"off": "uvicorn.lifespan.off:LifespanOff"', f'"off": "{PRIVATE}.uvicorn.lifespan.off:LifespanOff"'),
        ("from .click import style", "from .click import style"),
        ("from uvicorn_worker import x", "from uvicorn_worker import x"),
        ("import click_things", "import click_things"),
    ],
)
def test_imports_of_vendored_libraries_get_the_private_name(line: str, expected: str) -> None:
    assert private_imports(line) == expected


def test_one_bundle_per_minor_version() -> None:
    assert bundle_key("3.11.7") == bundle_key("3.11.9")
    assert bundle_key("3.11.7") != bundle_key("3.12.1")


@pytest.mark.parametrize("path", sorted(SOURCE.glob("*.py")), ids=lambda p: p.name)
def test_the_scoring_package_is_readable_by_python_3_8_and_uses_the_standard_library_only(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 8))
    absolute = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and not n.level and n.module}
    absolute |= {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    assert {name.partition(".")[0] for name in absolute} <= sys.stdlib_module_names
