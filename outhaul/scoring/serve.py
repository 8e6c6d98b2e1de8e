"""The first file that a replica's Python runs: `python -u serve.py --config FILE`, or `--check`.

Makes the bundle's package importable without an entry in sys.path, so that nothing in the bundle can shadow the
user's packages and nothing of theirs can replace the bundle's.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGE = "_outhaul_scoring"
PRIVATE = ("uvicorn", "h11", "httptools", "uvloop", "click")
EXIT_CONFIG = 2


def import_package() -> None:
    """Everything is imported here, before the score script's folder comes to sys.path: a `queue.py` there is the
    script's own affair and must not reach the server."""
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or os.getcwd()) != HERE]
    folder = os.path.join(HERE, PACKAGE)
    spec = importlib.util.spec_from_file_location(
        PACKAGE, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)


def check(before: set[str]) -> int:
    """Import all, print what this bundle runs on, and fail when a vendored library is visible under its own name."""
    vendored = importlib.import_module(PACKAGE + ".vendored")
    importlib.import_module(PACKAGE + ".server")
    loop = vendored.new_event_loop()
    loop.close()
    vendored.http_server(None, None)
    leaked = sorted(name for name in sys.modules if name.partition(".")[0] in PRIVATE and name not in before)
    print(json.dumps({"http": vendored.http_protocol().__name__, "loop": type(loop).__module__, "leaked": leaked}))
    return 1 if leaked else 0


def main(arguments: list[str]) -> None:
    before = set(sys.modules)
    import_package()
    if arguments == ["--check"]:
        sys.exit(check(before))
    if len(arguments) != 2 or arguments[0] != "--config":
        sys.exit("usage: serve.py --config FILE | --check")
    config_module = importlib.import_module(PACKAGE + ".config")
    server = importlib.import_module(PACKAGE + ".server")
    with open(os.path.join(HERE, "bundle.json"), encoding="utf-8") as file:
        version = json.load(file)["version"]
    try:
        with open(arguments[1], encoding="utf-8") as file:
            config = config_module.parse(file.read())
    except (OSError, config_module.ConfigError) as error:
        print(error, file=sys.stderr)
        sys.exit(EXIT_CONFIG)
    server.leave(server.Server(config, version).run())


if __name__ == "__main__":
    main(sys.argv[1:])
