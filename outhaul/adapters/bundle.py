"""Makes the scoring bundle: our scoring server and its HTTP libraries in a folder that any replica can run.

The libraries come from the package index by uv, at the versions and hashes of `outhaul/scoring/vendor.txt`; with uv's
cache filled, nothing is asked of the network. Their imports are rewritten to a private name, so that the user's own
uvicorn, h11 or click stay the user's. Why so: `docs/decisions/2026-11-22-scoring-bundle.md`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import outhaul
from outhaul.errors import Failed, Unreachable

SOURCE = Path(__file__).parent.parent / "scoring"
PACKAGE = "_outhaul_scoring"
VENDOR = f"{PACKAGE}._vendor"
LIBRARIES = ("uvicorn", "h11", "httptools", "uvloop", "click", "typing_extensions")
UV_NO_SOLUTION = 1
"""uv's exit status when it understood and cannot; 2 when something outside failed (network, disk)."""


def serve_command(bundle: Path, python: Path, config: Path) -> list[str]:
    """The command of a replica: the environment's own Python, unbuffered."""
    return [str(python), "-u", str(bundle / "serve.py"), "--config", str(config)]


def ensure_bundle(home_bundles: Path, python: Path, python_version: str) -> Path:
    """The bundle for this version of Outhaul, the minor version of `python_version` and this platform; made when
    missing, by one process at a time, whole or not at all.

    Unreachable: the package index did not answer and uv's cache lacks a wheel. Failed: it cannot be made or does not
    run on `python`.
    """
    bundle = home_bundles / bundle_key(python_version)
    if bundle.is_dir():
        return bundle
    home_bundles.mkdir(parents=True, exist_ok=True)
    with _lock(home_bundles / f".{bundle.name}.lock"):
        if not bundle.is_dir():
            _remove_left_over(home_bundles, bundle.name)
            _make(bundle, python, python_version)
    return bundle


def bundle_key(python_version: str) -> str:
    """`0.1.0-cp311-linux-x86_64-glibc-1f2e3d4c`. The last part is a digest of what goes in, so that a changed source
    makes another bundle and running replicas keep theirs."""
    major, minor = python_version.split(".")[:2]
    libc = platform.libc_ver()[0] or "libc"
    place = f"{sysconfig.get_platform()}-{libc}"
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return f"{outhaul.__version__}-cp{major}{minor}-{place}-{digest.hexdigest()[:8]}"


def _sources() -> list[Path]:
    return sorted([*SOURCE.glob("*.py"), SOURCE / "vendor.txt"])


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel, also when we are killed
        yield


def _remove_left_over(folder: Path, name: str) -> None:
    for path in folder.glob(f".{name}.*.tmp"):
        shutil.rmtree(path)


def _make(bundle: Path, python: Path, python_version: str) -> None:
    draft = Path(tempfile.mkdtemp(prefix=f".{bundle.name}.", suffix=".tmp", dir=bundle.parent))
    try:
        package = draft / PACKAGE
        package.mkdir()
        _copy_ours(draft, package)
        _install(package / "_vendor", python)
        _make_private(package / "_vendor")
        about = {"version": outhaul.__version__, "python": python_version, "platform": sysconfig.get_platform()}
        (draft / "bundle.json").write_text(json.dumps(about))
        _verify(draft, python)
        _seal(draft)
        draft.replace(bundle)
    except BaseException:
        shutil.rmtree(draft)
        raise


def _copy_ours(draft: Path, package: Path) -> None:
    for path in SOURCE.glob("*.py"):
        shutil.copyfile(path, (draft if path.name == "serve.py" else package) / path.name)


def _install(target: Path, python: Path) -> None:
    """From uv's cache alone when it has everything, else with the index."""
    import uv

    options = ["--quiet", "--target", str(target), "--python", str(python), "--no-build", "--require-hashes"]
    command = [uv.find_uv_bin(), "pip", "install", *options, "--link-mode", "copy", "-r", str(SOURCE / "vendor.txt")]
    if _run([*command, "--offline"]).returncode == 0:
        return
    done = _run(command)
    if done.returncode:
        kind = Failed if done.returncode == UV_NO_SOLUTION else Unreachable
        raise kind(
            "scoring-bundle-packages",
            "the scoring server's HTTP libraries cannot be fetched",
            found=done.stderr.strip(),
            expected="the wheels named in outhaul/scoring/vendor.txt, from uv's cache or the package index",
            remedy="check the network and UV_INDEX_URL, then try again; once fetched, no network is needed",
        )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, check=False)


def _make_private(vendor: Path) -> None:
    (vendor / "__init__.py").write_text('"""Third-party libraries under a private name; licences in *.dist-info."""\n')
    shutil.rmtree(vendor / "bin", ignore_errors=True)
    for path in vendor.rglob("*"):
        if path.suffix in (".pyx", ".pxd", ".pyi", ".c", ".h"):
            path.unlink()
        elif path.suffix == ".py":
            path.write_text(private_imports(path.read_text("utf-8")), "utf-8")
    # uvicorn's own __init__ imports its command line, which the server never needs.
    (vendor / "uvicorn" / "__init__.py").write_text("from .config import Config as Config\n")


def private_imports(text: str) -> str:
    """Source text of a library with every import of a vendored library, also those in strings, under its private
    name. Relative imports stay as they are."""
    names = "|".join(LIBRARIES)
    text = re.sub(rf"^(\s*)import ({names})$", rf"\1from {VENDOR} import \2", text, flags=re.M)
    text = re.sub(rf"^(\s*)import ({names})( as \w+)$", rf"\1from {VENDOR} import \2\3", text, flags=re.M)
    text = re.sub(rf"^(\s*)import ({names})\.([\w.]+)( as \w+)$", rf"\1import {VENDOR}.\2.\3\4", text, flags=re.M)
    text = re.sub(rf"^(\s*)from ({names})(\.[\w.]+)? import ", rf"\1from {VENDOR}.\2\3 import ", text, flags=re.M)
    return re.sub(rf"([\"'])({names})\.(?=\w)", rf"\1{VENDOR}.\2.", text)


def _verify(draft: Path, python: Path) -> None:
    """Compile all, then import all on the interpreter it is for."""
    compile_all = [str(python), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(draft)]
    for command in (compile_all, [str(python), str(draft / "serve.py"), "--check"]):
        done = _run(command)
        if done.returncode:
            raise Failed(
                "scoring-bundle",
                f"the scoring server does not run on {python}",
                found=(done.stderr or done.stdout).strip()[-2000:],
                expected="CPython 3.8 or later with its whole standard library",
                remedy="choose another Python version for the environment, or rebuild it",
            )


def _seal(draft: Path) -> None:
    """Read-only files, on disk before the bundle gets its name."""
    for path in draft.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
            with path.open("rb") as file:
                os.fsync(file.fileno())
    draft.chmod(0o755)
