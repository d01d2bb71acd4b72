"""The export service as awaitable calls: what `sessions` and `content` use, behind their own small protocols."""

import logging
import time
from collections.abc import Callable, Iterable, Set

import trio

from exportfs.config import MIB, ServerConfig
from exportfs.errors import (
    AccessDenied,
    Corrupt,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotProcessed,
    NotSent,
    TimedOut,
    Unauthenticated,
    Unreachable,
)
from exportfs.model import Listing, Session, SessionState
from exportfs.naming import encode
from exportfs.retry import Patience, PatienceConfig
from exportfs.rpc import convert
from exportfs.rpc.channel import Connections
from exportfs.rpc.login import AskCode, Login
from exportfs.rpc.paged import collect
from exportfs.rpc.site import SiteClient
from exportfs.rpc.unary import Bridge
from exportfs.rpc.wire_format import MalformedMessage, message, session_infos

log = logging.getLogger(__name__)

SERVICE = "/axxonsoft.bl.mmexport.ExportService/"
_PAGE_SIZES = (1000, 100)
"""Sessions a page: few calls for many sessions; 100 is what was observed, should a server refuse more."""
_LONGEST_LISTING = 512 * MIB
ONCE = (("x-envoy-max-retries", "0"),)
"""Envoy sends no call again that has this header, but where it counts as a client's from outside. Istio's sidecars do
so by default after a 503 or UNAVAILABLE, which another sidecar answers also where the server had the call by then."""
LEAST_LEFT = 0.1
"""Share of its time that starting an export needs: sent with less, its answer would be lost."""


class Server:
    """One server, as one user. Belongs to one trio run.

    Every method raises our errors, and none waits longer than `timeout` seconds without an answer.
    """

    def __init__(self, config: ServerConfig, *, timeout: float, ask_code: AskCode | None = None) -> None:
        self.connections = Connections(config)
        self._timeout = timeout
        # After a first try in which nothing came, a new connection is made; what is left is for the second, so
        # that a server that is slow, and not dead, has two thirds of the time to answer.
        self._try_timeout = max(0.2, timeout / 3)
        self._bridge = Bridge(self.connections)
        self.login = Login(config, self._bridge, call_timeout=self._try_timeout, ask_code=ask_code)
        self._known: dict[bytes, Session] = {}
        self._page_size = self._largest_page = _PAGE_SIZES[0]
        self._listed: Set[str] = frozenset()
        self._pages = 0
        """Of the last listing, its ids, and how many calls it took."""
        self._slow_list = False
        """Whether the last listing took longer than a first try is given otherwise."""
        self.last_contact: float | None = None
        self.trouble: ExportfsError | None = None
        self.site = SiteClient(self.connections, self._bridge, self.login, self.mend, timeout=timeout)

    async def connect(self, within: float) -> None:
        """Returns when there is a connection. Raises Unreachable at once where none can be made, or TimedOut."""
        await self._bridge.connect(within)

    async def list_sessions(self, moved: Callable[[], None] = lambda: None) -> Listing:
        """All sessions with their options and states. Resets none of the server's timers (documented).

        Takes as long as more sessions come, of which `moved` is told: a thin line needs minutes for thousands.
        """
        patience = self._patience()
        scope = trio.CancelScope()

        def more() -> None:
            patience.progress(trio.current_time())
            scope.deadline = patience.deadline
            moved()

        progress = _Progress(more)
        first_within = self._try_timeout * (2 if self._slow_list else 1)
        while True:
            asked = trio.current_time()
            scope = trio.CancelScope(deadline=patience.deadline)
            try:
                with scope:
                    listing = await self._list_whole(first_within, progress)
                    self._slow_list = trio.current_time() - asked > self._try_timeout
                    if not self._slow_list:
                        self._page_size = self._largest_page
                    return listing
            except ExportfsError as error:
                if isinstance(error, InvalidArgument) and self._page_size != _PAGE_SIZES[-1]:
                    self._page_size = self._largest_page = _PAGE_SIZES[-1]
                    continue
                if isinstance(error, TimedOut):
                    # A page in one message, over a thin line, moves for nobody to see; small ones are seen to come.
                    self._page_size = _PAGE_SIZES[-1]
                    first_within, self._slow_list = self._timeout, False
                await self._pause("ListSessions", patience, error)
            else:
                raise TimedOut("the server did not finish the list of sessions in time")

    async def get_session_state(self, session_id: str) -> SessionState:
        """Resets the timers that stop a running session and delete a completed one's files (documented)."""
        return convert.session_state(await self._repeatable("GetSessionState", session_id))

    async def stop_session(self, session_id: str) -> SessionState:
        """Stops a running export; what it has so far are its results. Stopping twice does no harm."""
        return convert.session_state(await self._repeatable("StopSession", session_id))

    async def destroy_session(self, session_id: str) -> None:
        """Deletes a session and its results. Raises NotFound where there is none."""
        patience = self._patience()
        lost = False
        slow = False
        while True:
            try:
                await self._once("DestroySession", _id(session_id), patience, slow=slow)
                return
            except NotFound:
                if lost:
                    return  # the call before, whose answer was lost, did it
                raise
            except ExportfsError as error:
                lost = lost or isinstance(error, Interrupted | Unreachable | TimedOut)
                slow = slow or isinstance(error, TimedOut)
                await self._pause("DestroySession", patience, error)

    async def start_session(self, options: bytes, *, within: float) -> str:
        """Starts one export and returns its id. Never repeats the call where it may have had an effect: only where the
        login was refused, or HTTP/2 says that the call was not processed.

        Raises Interrupted, TimedOut or Unreachable where it is unknown whether the server started it.
        """
        patience = Patience(PatienceConfig(timeout=within), trio.current_time())
        while True:
            asked = trio.current_time()
            left = patience.deadline - asked
            if left < within * LEAST_LEFT:
                raise NotSent("the login took too long to start the export afterwards")
            try:
                raw = await self._bridge.call(
                    SERVICE + "StartSession", message((2, options)), self.login.metadata(), left, hints=ONCE
                )
            except Unauthenticated as error:  # refused before any work
                patience.after(error, trio.current_time())
                with trio.move_on_at(patience.deadline):
                    await self._log_in_to_start(error)
                self.connections.calls.retried("StartSession")
                continue
            except NotProcessed as error:
                await trio.sleep(patience.after(error, trio.current_time()))
                self.connections.calls.retried("StartSession")
                continue
            self._heard(asked)
            session_id = convert.text(raw, 1)
            if not session_id:
                raise Interrupted("the server started the export but did not name its session")
            return session_id

    async def _log_in_to_start(self, error: Unauthenticated) -> None:
        """Raises AccessDenied, or NotSent: whatever becomes of the login, the export was not started."""
        try:
            await self.login.refresh(error.credentials)
        except AccessDenied:
            raise
        except ExportfsError as failure:
            raise NotSent(f"the login could not be made: {failure}") from None

    async def mend(self, error: ExportfsError) -> None:
        """Does what can be done about a failed call before the next try.

        Raises AccessDenied where that makes it final, and others where mending itself may be tried again.
        """
        if isinstance(error, Unauthenticated):
            await self.login.refresh(error.credentials)

    def unanswered_since(self) -> float | None:
        """When the oldest call without an answer was made, downloads apart; None where there is none."""
        return min(self.connections.calls.unanswered.values(), default=None)

    async def close(self) -> None:
        """Ends the login and all connections."""
        await self.login.close()
        self.connections.close()

    async def _list_whole(self, first_within: float, progress: "_Progress") -> Listing:
        """A listing that has lost nothing between two pages: where a session of the first page goes, a server that
        counts may skip one of the next. So what is missing of several pages has to be missing twice."""
        before, listing = self._listed, await self._list_once(first_within, progress)
        found = {session.id: session for session in listing.sessions}
        if self._pages > 1 and not before <= found.keys():
            progress.once_more()
            again = await self._list_once(first_within, progress)
            found |= {session.id: session for session in again.sessions}
            listing = Listing(tuple(found.values()), listing.cost + again.cost, listing.size + again.size)
        self._listed = found.keys()
        return listing

    async def _list_once(self, first_within: float, progress: "_Progress") -> Listing:
        progress.begin()
        known: dict[bytes, Session] = {}
        sessions: dict[str, Session] = {}
        token, cost, room = "", 0.0, _LONGEST_LISTING
        seen_tokens: set[str] = set()
        self._pages = 0
        while True:
            self._pages += 1
            request = message((1, token.encode("utf-8", "surrogateescape")), (2, self._page_size))
            metadata, asked = self.login.metadata(), trio.current_time()
            try:
                pages = await collect(
                    self.connections,
                    SERVICE + "ListSessions",
                    request,
                    metadata,
                    2 * self._try_timeout,
                    _page,
                    room,
                    first_within=first_within,
                    moved=lambda page: progress.brought(page[0]),
                )
            except InvalidArgument as error:
                if not token:
                    raise
                # Tokens may die when the list changes: from the first page again.
                raise Interrupted(f"the list of sessions broke off: {error}") from None
            self._heard(asked)
            token, before = "", len(sessions)
            for infos, next_token, seconds in pages:
                token = next_token or token
                begun = time.thread_time()
                for info in infos:
                    room -= len(info)
                    self._note(info, known, sessions)
                cost += seconds + time.thread_time() - begun
                await trio.lowlevel.checkpoint()
            if not token:
                self._known = known
                return Listing(tuple(sessions.values()), cost, _LONGEST_LISTING - room)
            # A cursor may keep its token; a page that brings nothing new is a circle, or as good as one.
            if token in seen_tokens and len(sessions) == before:
                raise Corrupt("the list of sessions goes round in circles")
            seen_tokens.add(token)

    def _note(self, info: bytes, known: dict[bytes, Session], sessions: dict[str, Session]) -> None:
        """Most sessions are as they were in the listing before, and are not converted again."""
        session = self._known.get(info)
        if session is None:
            try:
                session = convert.session(info)
            except Corrupt as error:
                log.warning("%s", error)
                return
        known[info] = session
        if session.id:
            sessions[session.id] = session

    async def _repeatable(self, method: str, session_id: str) -> bytes:
        patience = self._patience()
        slow = False
        while True:
            try:
                return await self._once(method, _id(session_id), patience, slow=slow)
            except ExportfsError as error:
                slow = slow or isinstance(error, TimedOut)
                await self._pause(method, patience, error)

    async def _once(self, method: str, request: bytes, patience: Patience, *, slow: bool) -> bytes:
        metadata, asked = self.login.metadata(), trio.current_time()
        left = max(0.1, patience.deadline - asked)
        if not slow:
            left = min(left, self._try_timeout)
        raw = await self._bridge.call(SERVICE + method, request, metadata, left)
        self._heard(asked)
        return raw

    async def _pause(self, method: str, patience: Patience, error: ExportfsError) -> None:
        """Mends what can be mended, and returns when the method is to be called again. Raises what is final."""
        self.trouble = error
        pause = patience.after(error, trio.current_time())
        while True:
            try:
                with trio.move_on_at(patience.deadline) as scope:
                    await self.mend(error)
                break
            except AccessDenied:
                raise
            except ExportfsError as failure:
                await trio.sleep(patience.after(failure, trio.current_time()))
        if scope.cancelled_caught:
            raise TimedOut("the login was not answered in time")
        await trio.sleep(pause)
        self.connections.calls.retried(method)

    def _patience(self) -> Patience:
        return Patience(PatienceConfig(timeout=self._timeout), trio.current_time())

    def _heard(self, asked: float) -> None:
        self.last_contact = trio.current_time()
        self.trouble = None


class _Progress:
    """What a listing has brought, where that is more than in any try before: one that breaks off at the same place
    again and again, or that goes round in circles, gets nowhere."""

    def __init__(self, more: Callable[[], None]) -> None:
        self._more = more
        self._most = 0
        self._seen: set[bytes] = set()
        self._again = False

    def begin(self) -> None:
        """From the first page."""
        self._seen = set()

    def once_more(self) -> None:
        """All that there is is asked for a second time, which takes as long."""
        if not self._again:
            self._again, self._most = True, 0

    def brought(self, infos: Iterable[bytes]) -> None:
        """These sessions, as they are on the wire."""
        self._seen.update(infos)
        if len(self._seen) > self._most:
            self._most = len(self._seen)
            self._more()


def _page(raw: bytes) -> tuple[list[bytes], str, float]:
    begun = time.thread_time()
    try:
        infos, next_token = session_infos(raw)
    except MalformedMessage as error:
        raise Corrupt(f"the list of sessions cannot be read: {error}") from None
    cut = [bytes(info) for info in infos]
    return cut, next_token, time.thread_time() - begun


def _id(session_id: str) -> bytes:
    return message((1, encode(session_id)))
