"""The definition of an environment with all that was installed pinned to its version. Pure."""

from __future__ import annotations

import re

import yaml

from outhaul.environment.definition import Environment
from outhaul.environment.dependencies import Parts, take_apart
from outhaul.ports import BuiltEnvironment

_REFERENCE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])? @ \S+.*")


def lock(environment: Environment, built: BuiltEnvironment) -> str:
    """The definition with everything that was installed pinned to its version: requirements text where the project
    has pip packages only, else a conda YAML. Options and URLs stay as the project wrote them."""
    parts = take_apart(environment.conda)
    pins = pinned(parts, {name: v for name, v in built.packages.items() if built.conda.get(name) != v})
    if environment.conda is not None and set(map(type, environment.conda["dependencies"])) == {dict}:
        return "".join(f"{line}\n" for line in pins)
    conda = [f"{name}={version}" for name, version in sorted(built.conda.items()) if name != "python"]
    definition = {
        **({"channels": parts.channels} if parts.channels else {}),
        "dependencies": [f"python={built.python_version}", *conda, *([{"pip": pins}] if pins else [])],
    }
    return yaml.safe_dump(definition, sort_keys=False, allow_unicode=True)


def pinned(parts: Parts, installed: dict[str, str]) -> list[str]:
    """Canonical lines that install exactly these packages; options and URLs as the project wrote them."""
    options = [line for line in parts.requirements if line.startswith("--")]
    references = {_folded(m["name"]): line for line in parts.requirements if (m := _REFERENCE.fullmatch(line))}
    unnamed = [line for line in parts.requirements if "://" in line and not line.startswith("--")]
    unnamed = [line for line in unnamed if line not in references.values()]
    pins = [references.get(_folded(name)) or f"{name}=={version}" for name, version in sorted(installed.items())]
    return [*options, *unnamed, *pins]


def _folded(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
