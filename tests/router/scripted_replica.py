"""A replica that does what each request tells it: `python scripted_replica.py PORT`.

Query: `ms` sleep, `status` answer with, `close` hang up, `sse` N events with `ms` between. `/stat` tells what it saw
(`?reset` forgets it). Small on purpose: no framework, so that what HAProxy sends is what is seen.
"""

from __future__ import annotations

import asyncio
import json
import sys
from urllib.parse import parse_qsl, urlsplit

SEEN = {"now": 0, "most": 0, "requests": 0}
ORDER: list[str] = []


async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await one(reader, writer):
            pass
    except (asyncio.IncompleteReadError, ConnectionError):
        pass  # the client went away, which ends the connection
    finally:
        writer.close()


async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    url = urlsplit(target)
    asked = dict(parse_qsl(url.query, keep_blank_values=True))
    if url.path == "/stat":
        return stat(writer, "reset" in asked)
    SEEN["now"] += 1
    SEEN["requests"] += 1
    SEEN["most"] = max(SEEN["most"], SEEN["now"])
    ORDER.append(headers.get("x-request-id", ""))
    try:
        return await act(writer, asked, {"method": method, "path": url.path, "headers": headers, "bytes": len(body)})
    finally:
        SEEN["now"] -= 1


async def act(writer: asyncio.StreamWriter, asked: dict[str, str], saw: dict[str, object]) -> bool:
    pause = float(asked.get("ms", 0)) / 1000
    if "sse" in asked:
        return await events(writer, int(asked["sse"]), pause)
    await asyncio.sleep(pause)
    if "close" in asked:
        return False
    answer(writer, {**saw, "port": int(sys.argv[1])}, int(asked.get("status", 200)))
    await writer.drain()
    return True


async def events(writer: asyncio.StreamWriter, number: int, pause: float) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    for event in range(number):
        line = f"data: {event}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(line), line))
        await writer.drain()
        await asyncio.sleep(pause)
    writer.write(b"0\r\n\r\n")
    return True


def stat(writer: asyncio.StreamWriter, reset: bool) -> bool:
    answer(writer, {**SEEN, "order": ORDER})
    if reset:
        SEEN.update(most=SEEN["now"], requests=0)
        ORDER.clear()
    return True


def answer(writer: asyncio.StreamWriter, value: object, status: int = 200) -> None:
    body = json.dumps(value).encode()
    writer.write(b"HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (status, len(body)))
    writer.write(body)


async def main() -> None:
    server = await asyncio.start_server(connection, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    print("ready", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
