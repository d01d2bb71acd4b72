"""The gRPC services: looks at faults and tokens, does the work, and records the call."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeAlias

import grpc

from exportfs.simulator.api.accounts import Accounts
from exportfs.simulator.api.calls import Call, CallLog
from exportfs.simulator.api.downloads import blocks, find_file
from exportfs.simulator.api.listing import pages
from exportfs.simulator.api.refusal import Refused
from exportfs.simulator.clock import Clock
from exportfs.simulator.config import Config
from exportfs.simulator.exports.sessions import Sessions
from exportfs.simulator.faults.actions import Action, Block
from exportfs.simulator.faults.script import Faults
from exportfs.simulator.site.services import SiteServices
from exportfs.wire import archive, auth, domain, service

_Work = Callable[[Call, Any], Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Stream = Callable[[Call, Any, list[Action]], Iterator[bytes]]

EXPORT = "axxonsoft.bl.mmexport.ExportService"
AUTHENTICATION = "axxonsoft.bl.auth.AuthenticationService"
DOMAIN = "axxonsoft.bl.domain.DomainService"
ARCHIVE = "axxonsoft.bl.archive.ArchiveService"


def _abort(context: grpc.ServicerContext, refused: Refused) -> NoReturn:
    context.abort(refused.code, refused.details)
    raise AssertionError("abort always raises")


class Service:
    """Handlers for a gRPC server, over the parts of a simulator."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        accounts: Accounts,
        sessions: Sessions,
        faults: Faults,
        log: CallLog,
    ) -> None:
        self._config = config
        self._clock = clock
        self._accounts = accounts
        self._sessions = sessions
        self._faults = faults
        self._log = log

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        """For `grpc.Server.add_generic_rpc_handlers`."""
        unary, stream = self._unary, self._streaming
        export_methods = {
            "ListSessions": stream("ListSessions", service.ListSessionsRequest, self._list),
            "StartSession": unary("StartSession", service.StartSessionRequest, self._start),
            "GetSessionState": unary("GetSessionState", service.GetSessionStateRequest, self._state),
            "StopSession": unary("StopSession", service.StopSessionRequest, self._stop),
            "DestroySession": unary("DestroySession", service.DestroySessionRequest, self._destroy),
            "DownloadFile": stream("DownloadFile", service.DownloadFileRequest, self._download),
        }
        second_factor = auth.AuthenticateBySecondFactorRequest
        auth_methods = {
            "AuthenticateEx2": unary("AuthenticateEx2", auth.AuthenticateRequest, self._authenticate, False),
            "AuthenticateBySecondFactor": unary(
                "AuthenticateBySecondFactor", second_factor, self._second_factor, False
            ),
            "RenewSession2": unary("RenewSession2", auth.RenewSessionRequest, self._renew, False),
            "CloseSession": unary("CloseSession", auth.CloseSessionRequest, self._close, False),
        }
        handlers = (
            grpc.method_handlers_generic_handler(EXPORT, export_methods),
            grpc.method_handlers_generic_handler(AUTHENTICATION, auth_methods),
        )
        return (*handlers, *self._site_handlers()) if self._config.has_site else handlers

    def _site_handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        site = SiteServices(self._config.told_site, self._clock)
        unary = self._unary

        def stream(method: str, kind: Any, work: Callable[[Any], Iterator[Any]]) -> _Handler:
            return self._streaming(method, kind, lambda call, request, actions: work(request))

        domain_methods = {
            "GetVersion": unary("GetVersion", domain.GetVersionRequest, lambda *_: site.version()),
            "GetHostTimeZone": unary(
                "GetHostTimeZone", domain.GetHostTimeZoneRequest, lambda *_: site.time_zone()
            ),
            "ListCameras": stream("ListCameras", domain.ListCamerasRequest, site.list_cameras),
            "BatchGetCameras": stream(
                "BatchGetCameras", domain.BatchGetCamerasRequest, site.batch_get_cameras
            ),
            "ListComponents": stream("ListComponents", domain.ListComponentsRequest, site.list_components),
        }
        archive_methods = {
            "GetHistory2": unary(
                "GetHistory2", archive.GetHistory2Request, lambda _, request: site.history(request)
            ),
            "GetCalendar": unary(
                "GetCalendar", archive.GetCalendarRequest, lambda _, request: site.calendar(request)
            ),
        }
        return (
            grpc.method_handlers_generic_handler(DOMAIN, domain_methods),
            grpc.method_handlers_generic_handler(ARCHIVE, archive_methods),
        )

    # What the methods do.

    def _authenticate(self, call: Call, request: auth.AuthenticateRequest) -> auth.AuthenticateResponseEx:
        return self._accounts.authenticate(request.user_name, request.password)

    def _second_factor(
        self, call: Call, request: auth.AuthenticateBySecondFactorRequest
    ) -> auth.AuthenticateResponseEx:
        return self._accounts.second_factor(request.session_id, request.verification_code)

    def _renew(self, call: Call, request: auth.RenewSessionRequest) -> auth.AuthenticateResponseEx:
        return self._accounts.renew(call.token)

    def _close(self, call: Call, request: auth.CloseSessionRequest) -> auth.CloseSessionResponse:
        self._accounts.close(call.token)
        return auth.CloseSessionResponse()

    def _start(self, call: Call, request: service.StartSessionRequest) -> service.StartSessionResponse:
        call.session_id = self._sessions.start(
            request.session_options,
            will_fail=bool(call.export_fails),
            without_files=call.export_fails != "with",
        )
        return service.StartSessionResponse(started_session_id=call.session_id)

    def _state(self, call: Call, request: service.GetSessionStateRequest) -> service.GetSessionStateResponse:
        return service.GetSessionStateResponse(session_state=self._sessions.state(request.session_id))

    def _stop(self, call: Call, request: service.StopSessionRequest) -> service.StopSessionResponse:
        return service.StopSessionResponse(session_state=self._sessions.stop(request.session_id))

    def _destroy(self, call: Call, request: service.DestroySessionRequest) -> service.DestroySessionResponse:
        self._sessions.destroy(request.session_id)
        return service.DestroySessionResponse()

    def _list(
        self, call: Call, request: service.ListSessionsRequest, actions: list[Action]
    ) -> Iterator[bytes]:
        replies = pages(self._sessions, request, self._config.listing)
        for action in actions:
            replies = action.pages(call, replies)
        return replies

    def _download(
        self, call: Call, request: service.DownloadFileRequest, actions: list[Action]
    ) -> Iterator[bytes]:
        session = self._sessions.use(request.session_id)
        file = find_file(session, request.file_path)
        if not self._log.begin_download(call, self._config.downloads.max_at_once):
            raise Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many downloads at once")
        stream: Iterator[Block] = blocks(call, session, file, self._config.downloads)
        for action in actions:
            stream = action.blocks(call, stream)
        for index, data in stream:
            self._log.sent(call, len(data))
            yield service.FileChunk(index=index, data=data).SerializeToString()

    # What all methods have in common.

    def _parser(self, kind: Any) -> Callable[[bytes], Any]:
        def parse(data: bytes) -> Any:
            for text, other in self._config.foreign_bytes:
                data = data.replace(other, text.encode())
            return kind.FromString(data)

        return parse

    def _serialized(self, reply: Any) -> bytes:
        """Faults and the listing give bytes, the rest messages."""
        data: bytes = reply if isinstance(reply, bytes) else reply.SerializeToString()
        for text, other in self._config.foreign_bytes:
            data = data.replace(text.encode(), other)
        return data

    def _begin(self, method: str, request: Any, context: grpc.ServicerContext) -> Call:
        metadata = dict(context.invocation_metadata() or ())
        token = metadata.get(self._config.login.token_name.lower())
        call = Call(
            method=method,
            request=request,
            token=token.decode("latin-1") if isinstance(token, bytes) else token,
            at=self._clock.now(),
            monotonic=time.monotonic(),
            session_id=getattr(request, "session_id", ""),
            file_id=getattr(request, "file_path", ""),
            start_index=getattr(request, "start_from_chunk_index", 0),
            chunk_size_kb=getattr(request, "chunk_size_kb", 0),
            cancel=context.cancel,
        )
        self._log.begin(call)
        if not context.add_callback(lambda: self._log.end(call, "CANCELLED")):
            self._log.end(call, "CANCELLED")
        return call

    def _admit(self, call: Call, actions: list[Action], checked: bool) -> None:
        for action in actions:
            action.before(call)
        if call.revoke:
            self._accounts.revoke(None if call.revoke == "all" else call.token)
        if checked:
            self._accounts.check(call.token)

    def _unary(self, method: str, kind: Any, work: _Work, checked: bool = True) -> _Handler:
        def handle(request: Any, context: grpc.ServicerContext) -> Any:
            call = self._begin(method, request, context)
            try:
                actions = self._faults.hit(call)
                self._admit(call, actions, checked)
                answers = [answer for action in actions if (answer := action.answer(call)) is not None]
                reply = next(iter(answers[0])) if answers else work(call, request)
                for action in actions:
                    action.after(call)
            except Refused as refused:
                self._log.end(call, refused.code.name)
                _abort(context, refused)
            self._log.end(call, "OK")
            return reply

        return grpc.unary_unary_rpc_method_handler(handle, self._parser(kind), self._serialized)

    def _streaming(self, method: str, kind: Any, work: _Stream) -> _Handler:
        def handle(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            call = self._begin(method, request, context)
            try:
                actions = self._faults.hit(call)
                self._admit(call, actions, True)
                answers = [answer for action in actions if (answer := action.answer(call)) is not None]
                yield from answers[0] if answers else work(call, request, actions)
            except Refused as refused:
                self._log.end(call, refused.code.name)
                _abort(context, refused)
            finally:
                # Closed before its end: the client has gone.
                self._log.end(call, "OK" if context.is_active() else "CANCELLED")

        # Blocks of files are bytes already, and no texts.
        serialized = None if method == "DownloadFile" else self._serialized
        return grpc.unary_stream_rpc_method_handler(handle, self._parser(kind), serialized)
