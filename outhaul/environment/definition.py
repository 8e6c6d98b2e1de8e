"""An environment: what a project's packages are made from, and the hash that names every image and folder built of it.

The hash is over what decides which packages are there, in the words of the project; `docs/decisions/` says why each
part is in or out. Pure.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import rfc8785

from outhaul.errors import Refused

HASH_VERSION = 1
_DIGITS = 32


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """What the packages are made from. No definition at all (`conda` None) means Python and nothing else."""

    base_image: str | None = None
    """As the project writes it; no registry is asked."""
    dockerfile: str | None = None
    """A Dockerfile's text, in place of a base image."""
    docker_steps: list[str] = []
    """Dockerfile lines between the base image and the packages."""
    conda: dict[str, Any] | None = None
    """The canonical definition, from `parse_conda` or `parse_requirements`."""
    env_vars: dict[str, str] = {}
    """Of the runs; no part of the hash."""


def canonical(environment: Environment) -> dict[str, Any]:
    """What is hashed. Refused when a base image and a Dockerfile are both given."""
    return {
        "v": HASH_VERSION,
        "base": _base(environment),
        "steps": _steps(environment),
        "conda": environment.conda,
    }


def environment_hash(environment: Environment) -> str:
    """The first 32 hex digits of the sha256 over the canonical form as RFC 8785 JSON: equal on every machine."""
    try:
        data = rfc8785.dumps(canonical(environment))
    except rfc8785.CanonicalizationError as error:
        raise Refused(
            "environment-text",
            "the environment holds text that is not valid Unicode",
            found=str(error),
            expected="text that can be written as UTF-8",
            remedy="remove the escape sequence (such as \\ud800) from the conda file",
        ) from error
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


def image_name(environment_hash: str) -> str:
    """The name of the image in any registry."""
    return f"outhaul/environment_{environment_hash}"


def unsupported(environment: Environment) -> list[str]:
    """What an environment of the embedded target cannot honour, one sentence each; empty when it honours all."""
    lost = [
        f"The base image {environment.base_image} is not used" if (environment.base_image or "").strip() else "",
        "The Dockerfile is not built" if environment.dockerfile else "",
        f"{count} docker step{'s are' if count > 1 else ' is'} not run" if (count := len(_steps(environment))) else "",
    ]
    remedy = "the embedded target has no containers; set `compute: {target: docker}` to build an image, or remove it"
    return [f"{sentence}: {remedy}." for sentence in lost if sentence]


def _base(environment: Environment) -> str | dict[str, str] | None:
    image = (environment.base_image or "").strip()
    if image and environment.dockerfile:
        raise Refused(
            "environment-base",
            "an environment has one base",
            found=f"a base image ({image}) and a Dockerfile",
            expected="a base image or a Dockerfile",
            remedy="remove one of them; a base image can stand in the Dockerfile's FROM line",
        )
    return {"dockerfile": _unix(environment.dockerfile)} if environment.dockerfile else image or None


def _steps(environment: Environment) -> list[str]:
    return [_unix(step) for step in environment.docker_steps if step.strip()]


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").strip()
