"""The environment variables that an entry script sees. Pure.

The caller's own variables are passed on by an allow-list: a run must not depend on who started it, and what a flow
knows (its server's address, its keys) is not for the script. What a script needs is declared in `outhaul.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_KEPT = {
    *("HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM", "TMPDIR", "PATH", "LD_LIBRARY_PATH"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_INDEX_URL", "PIP_CERT"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "HF_HOME"),
}
_KEPT_PREFIXES = ("LC_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_")


def script_environment(
    caller: Mapping[str, str], declared: Mapping[str, str], python: Path, run_id: str
) -> dict[str, str]:
    """The caller's kept variables, then the environment's own, then what the project declares, then the run's id."""
    binaries = str(python.parent)
    path = caller.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    return {
        **kept(caller),
        "PATH": f"{binaries}:{path}",
        "VIRTUAL_ENV": str(python.parent.parent),
        "PYTHONUNBUFFERED": "1",  # a line that was printed is in the log, even when the script is killed right after
        **declared,
        "OUTHAUL_RUN_ID": run_id,
        "AZUREML_RUN_ID": run_id,
    }


def kept(caller: Mapping[str, str]) -> dict[str, str]:
    """The caller's variables that are passed on."""
    return {name: value for name, value in caller.items() if name.upper() in _KEPT or name.startswith(_KEPT_PREFIXES)}
