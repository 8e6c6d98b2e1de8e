"""A package index and a conda channel of our own, so that builds are tested with the real tools and no network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def wheel(name: str, version: str, requires: str = "") -> bytes:
    """A wheel with one module that knows its version."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    files = {
        f"{name}.py": f"version = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},{_record_hash(text)},{len(text.encode())}\n" for path, text in files.items())
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            archive.writestr(zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0)), text)
    return buffer.getvalue()


def _record_hash(text: str) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
    return f"sha256={digest}"


class Index:
    """A simple index over loopback. `answer` is the status of every reply; 0 never answers."""

    def __init__(self, wheels: Mapping[tuple[str, str], bytes]) -> None:
        self.answer = 200
        self.asked = threading.Event()
        self.pages: list[str] = []
        self.files = {f"/{name}/{name}-{v}-py3-none-any.whl": data for (name, v), data in wheels.items()}
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def body(self, path: str) -> tuple[str, bytes] | None:
        if path in self.files:
            return "application/octet-stream", self.files[path]
        links = [f'<a href="{name}">{Path(name).name}</a>' for name in self.files if name.startswith(path)]
        return ("text/html", "".join(links).encode()) if links else None

    @contextmanager
    def serving(self) -> Iterator[Index]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.closing.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def _handler(index: Index) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            index.pages.append(self.path)
            index.asked.set()
            if index.answer == 0:
                index.closing.wait(60)
                return
            kind, body = index.body(self.path) or ("text/plain", b"")
            self.send_response(index.answer if body or index.answer != 200 else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the test's output is the test's."""

    return Handler


def conda_channel(root: Path) -> str:
    """A channel with `hello` 1.0 and 2.0, and a `python` that is this interpreter. Its URL."""
    from rattler.index import index_fs

    base = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    files = {"pyvenv.cfg": f"home = {base.parent}\n", f"lib/{minor}/site-packages/README.txt": ""}
    links = {f"bin/{minor}": str(base), "bin/python": minor}
    version = ".".join(map(str, sys.version_info[:3]))
    _conda_package(root / "linux-64", "python", version, files, links)
    for hello in ("1.0", "2.0"):
        _conda_package(root / "noarch", "hello", hello, {"share/hello.txt": f"hello {hello}"}, {})
    asyncio.run(index_fs(root))
    return root.as_uri()


def _conda_package(subdir: Path, name: str, version: str, files: Mapping[str, str], links: Mapping[str, str]) -> None:
    subdir.mkdir(parents=True, exist_ok=True)
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": [], "subdir": subdir.name}
    index |= {"noarch": "generic"} if subdir.name == "noarch" else {"arch": "x86_64", "platform": "linux"}
    empty = hashlib.sha256(b"").hexdigest()
    paths: list[dict[str, object]] = [
        {"_path": path, "path_type": "softlink", "sha256": empty, "size_in_bytes": 0} for path in links
    ]
    for path, text in files.items():
        digest = hashlib.sha256(text.encode()).hexdigest()
        paths.append({"_path": path, "path_type": "hardlink", "sha256": digest, "size_in_bytes": len(text)})
    info = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}),
        "info/files": "\n".join([*links, *files]),
    }
    with tarfile.open(subdir / f"{name}-{version}-0.tar.bz2", "w:bz2") as archive:
        for path, target in links.items():
            link = tarfile.TarInfo(path)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for path, text in {**files, **info}.items():
            member = tarfile.TarInfo(path)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
