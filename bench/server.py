"""An export server that serves files from memory over the real protocol, at little cost of its own.

    python -m bench.server DIRECTORY [--host ADDRESS] [--sessions COUNT] [--tls CERTIFICATE KEY]

serves every file of the directory as the results of one completed session (of as many as told, alike), without
login, on a port of its choice. It talks in lines: it prints its port, then answers each `stats` or `reset` on stdin
with a JSON object, and ends with stdin: a benchmark that dies takes its server along.
"""

import argparse
import json
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from bench.content import Content
from exportfs.wire import export, service

SESSION = "hosts/Bench/7b1d9a52-3f0e-4c68-9d5b-6a1f2e8c4d70"
SERVICE = "axxonsoft.bl.mmexport.ExportService"


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def chunk_head(index: int, length: int) -> bytes:
    """All of a FileChunk but its data: encoding by hand saves a copy of each block."""
    return (b"\x08" + varint(index) if index else b"") + (b"\x12" + varint(length) if length else b"")


def chunks(data: memoryview, block: int, index: int) -> Iterator[tuple[int, bytes]]:
    """Block numbers count from the start of the file; a start past the end gives nothing."""
    for start in range(index * block, len(data), block):
        piece = data[start : start + block]
        yield len(piece), b"".join((chunk_head(start // block, len(piece)), piece))


class Counters:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.active = 0
        self.reset()

    def reset(self) -> None:
        with self.lock:
            self.calls: dict[str, int] = {}
            self.bytes = 0
            self.most_active = self.active

    def called(self, method: str) -> None:
        with self.lock:
            self.calls[method] = self.calls.get(method, 0) + 1

    def started(self) -> None:
        with self.lock:
            self.active += 1
            self.most_active = max(self.most_active, self.active)

    def ended(self) -> None:
        with self.lock:
            self.active -= 1

    def sent(self, count: int) -> None:
        with self.lock:
            self.bytes += count

    def stats(self) -> dict[str, Any]:
        with self.lock:
            return {
                "calls": dict(self.calls),
                "downloads": self.calls.get("DownloadFile", 0),
                "bytes": self.bytes,
                "active": self.active,
                "most_active": self.most_active,
            }


class ExportServer:
    def __init__(
        self, directory: Path, host: str = "127.0.0.1", sessions: int = 1, tls: list[Path] | None = None
    ) -> None:
        self.sessions = [SESSION, *(f"hosts/Bench/{uuid.UUID(int=number)}" for number in range(1, sessions))]
        self.files = {path.name: Content(path) for path in sorted(directory.iterdir())}
        self.counters = Counters()
        # A stream holds its thread until it ends: enough threads that none ever waits for another.
        self.server = grpc.server(
            ThreadPoolExecutor(max_workers=64),
            options=[("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "ListSessions": grpc.unary_stream_rpc_method_handler(self.list_sessions),
            "GetSessionState": grpc.unary_unary_rpc_method_handler(self.get_session_state),
            "DownloadFile": grpc.unary_stream_rpc_method_handler(self.download_file),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        if tls:
            certificate, key = (path.read_bytes() for path in tls)
            credentials = grpc.ssl_server_credentials([(key, certificate)])
            self.port = self.server.add_secure_port(f"{host}:0", credentials)
        else:
            self.port = self.server.add_insecure_port(f"{host}:0")
        self.server.start()

    def state(self) -> service.State:
        state = service.State(state=service.S_COMPLETED)
        state.last_frame_timestamp = "20260511T081411.000000"
        state.result.succeeded = True
        for name, content in self.files.items():
            state.result.files.add(
                path=name,
                size=content.size,
                min_timestamp="20260511T080411.000000",
                max_timestamp="20260511T081411.000000",
                mime_type="video/mp4",
            )
        return state

    def list_sessions(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.counters.called("ListSessions")
        options = export.Options()
        options.archive.start_timestamp = "20260511T080411"
        options.archive.end_timestamp = "20260511T081411"
        options.archive.sources.add(origin="hosts/Bench/DeviceIpint.1/SourceEndpoint.video:0:0")
        options.stream.format = export.StreamType.MP4
        response, state = service.ListSessionsResponse(), self.state()
        for session in self.sessions:
            response.sessions.add(session=service.Session(id=session, options=options), state=state)
        yield response.SerializeToString()

    def get_session_state(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.counters.called("GetSessionState")
        if service.GetSessionStateRequest.FromString(request).session_id not in self.sessions:
            context.abort(grpc.StatusCode.NOT_FOUND, "There is no session with provided ID")
        return service.GetSessionStateResponse(session_state=self.state()).SerializeToString()

    def download_file(self, request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        self.counters.called("DownloadFile")
        asked = service.DownloadFileRequest.FromString(request)
        content = self.files.get(asked.file_path)
        if asked.session_id not in self.sessions or content is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "There is no session with provided ID")
        if not asked.chunk_size_kb:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "chunk_size_kb is missing")
        self.counters.started()
        # A cancelled generator is closed late or never; the call's own end is what counts.
        if not context.add_callback(self.counters.ended):
            self.counters.ended()
            return
        with memoryview(content.map) as data:
            for count, chunk in chunks(data, asked.chunk_size_kb * 1024, asked.start_from_chunk_index):
                self.counters.sent(count)
                yield chunk

    def stop(self) -> None:
        self.server.stop(0).wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.server")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--tls", type=Path, nargs=2, metavar=("CERTIFICATE", "KEY"))
    given = parser.parse_args()
    server = ExportServer(given.directory, given.host, given.sessions, given.tls)
    print(server.port, flush=True)
    try:
        for line in sys.stdin:
            if line.strip() == "reset":
                server.counters.reset()
            print(json.dumps(server.counters.stats()), flush=True)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()


if __name__ == "__main__":
    main()
