"""Conda packages without conda: solved and installed by py-rattler, into the folder where they will stay."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from outhaul.adapters.build_process import BuildSettings
from outhaul.adapters.interpreters import RUNNING, dotted
from outhaul.errors import Failed, Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    import rattler

DEFAULT_CHANNELS = ("conda-forge",)
"""Where a definition names none: the channel that is free for everyone."""
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_NETWORK = re.compile(
    r"error sending request|dns error|tcp connect|connection (?:refused|reset|closed)|timed out|50[0-9] |429 Too Many",
    re.IGNORECASE,
)
Log = Callable[[str], None]


class _Meta(msgspec.Struct):
    """What is read of `conda-meta/<package>.json`."""

    name: str
    version: str


def available() -> bool:
    """Whether py-rattler is installed."""
    from importlib.util import find_spec

    return find_spec("rattler") is not None


def install_conda(definition: dict[str, Any], prefix: Path, settings: BuildSettings, log: Log) -> None:
    """Solve the definition's conda packages and install them into `prefix`. Python comes along where no line names it.

    Refused without py-rattler or for a broken spec; Failed with the solver's reason; Unreachable for the network.
    """
    import asyncio  # slow to import, and the command line's start would pay for it

    _require()
    specs = [spec for spec in definition["dependencies"] if isinstance(spec, str)]
    if not any(re.match(r"([^:]+::)?python\b(?!-)", spec) for spec in specs):
        specs.append(f"python={dotted(RUNNING[:2])}")
    channels = channel_urls(definition.get("channels") or DEFAULT_CHANNELS)
    log(f"Solving {', '.join(specs)} from {', '.join(channels)}")
    with _mapped():
        records = asyncio.run(_limited(_solve(channels, specs, settings.offline), settings.timeout_seconds))
        for record in sorted(records, key=lambda record: record.name.normalized):
            log(f" + {record.name.normalized}={record.version}={record.build}")
        asyncio.run(_limited(_install(records, prefix), settings.timeout_seconds))


def install_same(source: Path, prefix: Path, settings: BuildSettings) -> None:
    """Install exactly the conda packages of one environment into another folder."""
    import asyncio

    _require()
    from rattler import PrefixRecord

    with _mapped():
        records = [PrefixRecord.from_path(path) for path in sorted((source / "conda-meta").glob("*.json"))]
        asyncio.run(_limited(_install(records, prefix), settings.timeout_seconds))


def conda_packages(prefix: Path) -> dict[str, str]:
    """Name → version of what conda installed; empty for a folder without conda."""
    metas = (msgspec.json.decode(path.read_bytes(), type=_Meta) for path in (prefix / "conda-meta").glob("*.json"))
    return dict(sorted((meta.name, meta.version) for meta in metas))


def channel_urls(channels: Sequence[str]) -> list[str]:
    """Channels as the solver takes them: folders as URLs, `defaults` written out, `nodefaults` left out."""
    urls: list[str] = []
    for channel in channels:
        if channel == "defaults":
            urls += _DEFAULTS
        elif channel.startswith("/"):
            urls.append(Path(channel).as_uri())
        elif channel.startswith((".", "~")):
            raise Refused(
                "conda-channel",
                "a channel stands on one machine only",
                found=channel,
                expected="a channel's name, its URL, or an absolute path",
                remedy="write the channel's absolute path, or serve it",
            )
        elif channel != "nodefaults":
            urls.append(channel)
    return urls


def _require() -> None:
    if not available():
        raise Refused(
            "conda-missing",
            "the environment has conda packages, and py-rattler is not installed",
            found="dependencies other than python and pip",
            expected="py-rattler beside outhaul, or pip packages only",
            remedy="pip install 'outhaul[conda]'",
        )


async def _solve(channels: list[str], specs: list[str], offline: bool) -> list[rattler.RepoDataRecord]:
    from rattler import Gateway, SourceConfig, Subdir, VirtualPackage, solve

    source = SourceConfig(cache_action="force-cache-only" if offline else "cache-or-fetch")
    return await solve(
        channels,
        specs,
        gateway=Gateway(default_config=source),
        platforms=[Subdir.current(), "noarch"],
        virtual_packages=VirtualPackage.detect(),
    )


async def _install(records: list[Any], prefix: Path) -> None:
    from rattler import install

    await install(records, target_prefix=prefix, show_progress=False)


async def _limited(work: Awaitable[Any], seconds: float) -> Any:
    import asyncio

    return await asyncio.wait_for(work, seconds)


@contextmanager
def _mapped() -> Iterator[None]:
    from rattler import exceptions

    try:
        yield
    except exceptions.InvalidMatchSpecError as error:
        expected, remedy = "such as `numpy=1.24` or `numpy>=1.24,<2`", "correct the line among the dependencies"
        raise Refused(
            "conda-spec", "a conda package cannot be read", found=str(error), expected=expected, remedy=remedy
        ) from error
    except exceptions.SolverError as error:
        raise _failed(
            "the conda packages do not fit together", error, "change the dependencies as the reason says"
        ) from error
    except (exceptions.GatewayError, exceptions.FetchRepoDataError) as error:
        raise _channel_error(error) from error
    except (exceptions.InstallerError, exceptions.IoError, exceptions.LinkError) as error:
        raise (
            _channel_error(error)
            if _NETWORK.search(_chain(error))
            else _failed("a conda package cannot be installed", error, "read the reason; it may be the package's own")
        ) from error
    except TimeoutError as error:
        raise Failed("environment-build-time-limit", "conda packages took too long", remedy="pin versions") from error


def _channel_error(error: Exception) -> Failed | Unreachable:
    if _NETWORK.search(_chain(error)):
        remedy = "check the network and the channels, then try again"
        return Unreachable("conda-channel-unreachable", "a channel does not answer", found=_chain(error), remedy=remedy)
    return _failed("a channel cannot be read", error, "correct the names under `channels`")


def _failed(message: str, error: Exception, remedy: str) -> Failed:
    expected = "packages that the channels have for this machine"
    return Failed("environment-build-failed", message, found=_chain(error), expected=expected, remedy=remedy)


def _chain(error: BaseException) -> str:
    text = str(error)
    return f"{text}\n{_chain(error.__cause__)}" if error.__cause__ else text
