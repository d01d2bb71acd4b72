"""The bare protocol as a client program: what a Python loop without a mount reaches.

    python -m bench.bare '{"what": "loop", "target": "127.0.0.1:5000", "files": ["big.mp4"], ...}'

prints a line when it is connected, waits for one, and then prints its result as a JSON object. It is a
process of its own, so that its CPU time and its interpreter lock are its own.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import grpc

from bench.content import KIB, Content
from bench.security import channel
from bench.server import SERVICE, SESSION
from exportfs.wire import service

DOWNLOAD = f"/{SERVICE}/DownloadFile"
# A seek is paid in what the server sends before the cancel reaches it: this bounds it.
SMALL_WINDOW = [("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", 256 * KIB)]
Blocks: TypeAlias = Generator[bytes | memoryview, None, None]
Downloads: TypeAlias = "grpc.UnaryStreamMultiCallable[service.DownloadFileRequest, service.FileChunk | bytes]"


def cut(message: bytes) -> memoryview:
    """A FileChunk's data without a copy. Fields may come in any order; only two are known."""
    view, at = memoryview(message), 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag == 0x12:
            return view[at : at + value]
    return view[:0]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class Client:
    def __init__(
        self,
        target: str,
        options: list[tuple[str, Any]] | None = None,
        stub: bool = False,
        tls: list[str] | None = None,
    ) -> None:
        given = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        given += [(name, value) for name, value in options or []]
        self.channel = channel(target, tls or [], given)
        grpc.channel_ready_future(self.channel).result(timeout=20)
        self.call: Downloads = self.channel.unary_stream(
            DOWNLOAD,
            request_serializer=service.DownloadFileRequest.SerializeToString,
            response_deserializer=service.FileChunk.FromString if stub else None,
        )

    def blocks(self, file: str, block: int, index: int = 0) -> Blocks:
        """Closing the generator cancels the call."""
        request = service.DownloadFileRequest(
            session_id=SESSION, file_path=file, chunk_size_kb=block // KIB, start_from_chunk_index=index
        )
        call = self.call(request)
        try:
            for message in call:
                yield cut(message) if isinstance(message, bytes) else message.data
        finally:
            call.cancel()

    def read(self, file: str, block: int, offset: int, length: int) -> bytes:
        """Open, as many blocks as the range needs, cancel."""
        index, skip = divmod(offset, block)
        parts, have = [], 0
        stream = self.blocks(file, block, index)
        for data in stream:
            parts.append(data)
            have += len(data)
            if have >= skip + length:
                break
        stream.close()
        return b"".join(parts)[skip : skip + length]


def go() -> None:
    """Connected: the clock starts when the benchmark says so, its counters at zero."""
    print("ready", flush=True)
    sys.stdin.readline()


def timed(runs: list[Callable[[], None]]) -> dict[str, float]:
    threads = [threading.Thread(target=run) for run in runs]
    go()
    start, cpu = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}


def client(job: dict[str, Any]) -> Client:
    return Client(job["target"], job["options"], job["stub"], job["tls"])


def loop(job: dict[str, Any]) -> dict[str, Any]:
    """Whole files, one thread and one connection each, to nothing or into a directory."""
    files = job["files"]
    clients = [client(job) for _ in files]
    totals = [0] * len(files)

    def run(number: int) -> None:
        stream = clients[number].blocks(files[number], job["block"])
        if "into" not in job:
            for data in stream:
                totals[number] += len(data)
            return
        with open(Path(job["into"]) / files[number], "wb", buffering=0) as out:
            for data in stream:
                totals[number] += out.write(data)

    return timed([partial(run, number) for number in range(len(files))]) | {"bytes": sum(totals)}


def share(job: dict[str, Any]) -> dict[str, Any]:
    """One file over several connections, each with its stripe: what a long fast line needs."""
    count, block, size = job["connections"], job["block"], job["size"]
    clients = [client(job) for _ in range(count)]
    stripe = -(-size // count // block) * block
    totals = [0] * count

    def run(number: int) -> None:
        end = min(size, (number + 1) * stripe) - number * stripe
        stream = clients[number].blocks(job["files"][0], block, number * stripe // block)
        for data in stream:
            totals[number] += min(len(data), end - totals[number])
            if totals[number] >= end:
                break
        stream.close()

    return timed([partial(run, number) for number in range(count)]) | {"bytes": sum(totals)}


def seek(job: dict[str, Any]) -> dict[str, Any]:
    """Ranges one after another on one warm connection; the first call of all is not counted."""
    warm = client(job)
    content = Content(Path(job["data"]) / job["files"][0])
    warm.read(job["files"][0], job["block"], 0, 1)
    go()
    times = []
    for ranges in job["ranges"]:
        start = time.perf_counter()
        got = [warm.read(job["files"][0], job["block"], *piece) for piece in ranges]
        times.append(time.perf_counter() - start)
        for data, (offset, length) in zip(got, ranges, strict=True):
            if len(data) != length or not content.matches(data, offset):
                raise SystemExit(f"wrong bytes at {offset}")
    return {"times": times}


def main() -> None:
    job = json.loads(sys.argv[1])
    result = {"loop": loop, "share": share, "seek": seek}[job["what"]](job)
    print(json.dumps(result), flush=True)
    os._exit(0)  # channels with cancelled calls may take their time to close


if __name__ == "__main__":
    main()
