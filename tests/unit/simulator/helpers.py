"""A client of the bare contract, for the simulator's tests only."""

from typing import Any

import grpc

from exportfs.simulator import SimulatorServer
from exportfs.wire import auth, auth_grpc, export, service, service_grpc

CAMERA = "hosts/Server/DeviceIpint.{}/SourceEndpoint.video:0:0"
RUNNING, COMPLETED, REMOVED = 1, 2, 3


class Client:
    def __init__(
        self, address: str, credentials: grpc.ChannelCredentials | None = None, name: str = ""
    ) -> None:
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        if credentials is None:
            self.channel = grpc.insecure_channel(address, options=options)
        else:
            self.channel = grpc.secure_channel(address, credentials, options=options)
        self.auth = auth_grpc.AuthenticationServiceStub(self.channel)
        self.stub = service_grpc.ExportServiceStub(self.channel)
        self.metadata: list[tuple[str, str]] = []

    @classmethod
    def of(cls, server: SimulatorServer) -> "Client":
        client = cls(server.address)
        client.login()
        return client

    def login(self, user: str = "demo", password: str = "demo") -> Any:
        request = auth.AuthenticateRequest(user_name=user, password=password)
        answer = self.auth.AuthenticateEx2(request, timeout=10)
        if answer.token_value:
            self.metadata = [(answer.token_name, answer.token_value)]
        return answer

    def _send(self, method: str, request: Any, timeout: float = 20) -> Any:
        return getattr(self.stub, method)(request, metadata=self.metadata, timeout=timeout)

    def start(self, options: export.Options) -> str:
        request = service.StartSessionRequest(session_options=options)
        return str(self._send("StartSession", request).started_session_id)

    def state(self, session: str, timeout: float = 20) -> Any:
        request = service.GetSessionStateRequest(session_id=session)
        return self._send("GetSessionState", request, timeout).session_state

    def stop(self, session: str) -> Any:
        return self._send("StopSession", service.StopSessionRequest(session_id=session)).session_state

    def destroy(self, session: str) -> None:
        self._send("DestroySession", service.DestroySessionRequest(session_id=session))

    def page(self, token: str = "", size: int = 0) -> list[Any]:
        request = service.ListSessionsRequest(page_token=token, page_size=size)
        return list(self._send("ListSessions", request))

    def all(self, size: int = 0) -> list[Any]:
        infos, token = [], ""
        while True:
            for message in self.page(token, size):
                infos.extend(message.sessions)
                token = message.next_page_token
            if not token:
                return infos

    def download(self, session: str, file: str, kb: int = 64, start: int = 0, timeout: float = 20) -> Any:
        request = service.DownloadFileRequest(
            session_id=session, file_path=file, chunk_size_kb=kb, start_from_chunk_index=start
        )
        return self._send("DownloadFile", request, timeout)

    def blocks(self, session: str, file: str, kb: int = 64, start: int = 0) -> list[tuple[int, bytes]]:
        return [(chunk.index, chunk.data) for chunk in self.download(session, file, kb, start)]

    def read(self, session: str, file: str, kb: int = 64) -> bytes:
        return b"".join(data for _, data in self.blocks(session, file, kb))

    def close(self) -> None:
        self.channel.close()


def archive(*numbers: int, seconds: float = 10, **changes: Any) -> export.Options:
    """An archive stream of MP4; `changes` are fields of ArchiveMode."""
    end = f"20260511T0800{seconds:09.6f}" if seconds < 60 else f"20260511T08{int(seconds) // 60:02}00"
    given = {"start_timestamp": "20260511T080000", "end_timestamp": end} | changes
    sources = [export.ArchiveMode.Source(origin=CAMERA.format(number)) for number in numbers or (1,)]
    return export.Options(
        archive=export.ArchiveMode(sources=sources, **given), stream=export.StreamType(format="MP4")
    )


def live(*numbers: int, seconds: float | None = None) -> export.Options:
    """A live stream of MKV."""
    mode = export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA.format(n)) for n in numbers or (1,)])
    if seconds is not None:
        mode.duration.FromNanoseconds(int(seconds * 1e9))
    return export.Options(live=mode, stream=export.StreamType(format="MKV"))


def snapshot(kind: str = "JPEG", *numbers: int) -> export.Options:
    options = archive(*numbers, end_timestamp="")
    options.snapshot.CopyFrom(export.SnapshotType(format=kind))
    return options
