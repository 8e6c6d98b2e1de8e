"""Stands in for a scoring server: answers /ready, /live and anything else, drains on SIGTERM. Steered by env vars.

READY_AFTER: seconds until it is ready. FAIL: exit status to end with at start. HOLD: bytes to hold in memory.
SECONDS: how long a request takes. NOTES: a file that gets a line for each start and end. CHILD: start one, too.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time


def note(word: str) -> None:
    if path := os.environ.get("NOTES"):
        with open(path, "a") as file:
            file.write(f"{word} {os.environ['REPLICA']} {os.getpid()} {time.time():.3f}\n")


class Server:
    def __init__(self) -> None:
        self.born = time.monotonic()
        self.busy = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self.held = bytearray(int(os.environ.get("HOLD", "0")))

    def answer(self, path: str) -> int:
        if os.path.exists(os.environ["REPLICA_FOLDER"] + "/dead"):
            return 503
        if path == "/live":
            return 200
        waiting = time.monotonic() - self.born < float(os.environ.get("READY_AFTER", "0"))
        sick = os.path.exists(os.environ["REPLICA_FOLDER"] + "/sick")
        return 503 if waiting or sick else 200

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            writer.close()
            return
        path = head.split(b" ", 2)[1].decode()
        status = 200
        if path in ("/ready", "/live"):
            status = self.answer(path)
        else:
            self.busy += 1
            self.idle.clear()
            await asyncio.sleep(float(os.environ.get("SECONDS", "0")))
            self.busy -= 1
        body = f'{{"message": "{"well" if status == 200 else "not well"}"}}'.encode()
        writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()
        if not self.busy:
            self.idle.set()


async def main() -> None:
    server = Server()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", int(os.environ["PORT"]))
    await stopping.wait()
    note("term")
    listener.close()
    await server.idle.wait()


if __name__ == "__main__":
    note("start")
    print("stand-in started", flush=True)
    if os.environ.get("CHILD"):
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    if os.environ.get("FAIL"):
        print("Traceback (most recent call last):\nValueError: no model here", flush=True)
        sys.exit(int(os.environ["FAIL"]))
    asyncio.run(main())
    note("end")
