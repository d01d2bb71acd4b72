"""Stopping and destroying sessions."""

import contextlib
import math

import trio

from exportfs.errors import Gone, NotFound, TimedOut
from exportfs.model import State
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.journal import Journal
from exportfs.sessions.service import SessionService

WARY = 3.0
"""Seconds that a session gets to be destroyed right after another one hung. The kernel keeps sessions/ locked during an
rmdir, listings included: ten that hang must not take ten times the timeout."""
WARY_FOR = 1.0
"""Seconds after one that hung."""


class Actions:
    """What the verbs of `.control` and rmdir do."""

    def __init__(self, service: SessionService, catalogue: Catalogue, journal: Journal) -> None:
        self._service = service
        self._catalogue = catalogue
        self._journal = journal
        self._stopped: set[str] = set()
        self._hung_at = -math.inf

    def was_stopped(self, session_id: str) -> bool:
        """Whether the session was stopped through this mount, or one before it."""
        record = self._journal.of_session(session_id)
        return session_id in self._stopped or (record is not None and record.stopped)

    async def stop(self, session_id: str) -> None:
        """Stops a running export. Raises Gone where there is no such session, Busy where it cannot be stopped."""
        entry = self._catalogue.get(session_id)
        try:
            state = await self._service.stop_session(session_id)
        except NotFound as error:
            self._catalogue.remove(session_id)
            raise Gone(str(error)) from None
        if entry is None or not entry.completed:
            # What had completed before was not stopped by us, whatever the server answers.
            self._stopped.add(session_id)
            self._journal.stopped(session_id)
        if state.state is not State.NONE:
            self._catalogue.state(session_id, state)
        self._catalogue.changed(session_id)

    async def destroy(self, session_id: str) -> None:
        """Deletes the session and its results on the server. Gone already is as good.

        Raises TimedOut where it is unknown whether that was done.
        """
        wary = trio.current_time() < self._hung_at + WARY_FOR
        try:
            with trio.fail_after(WARY if wary else math.inf), contextlib.suppress(NotFound):
                await self._service.destroy_session(session_id)
        except trio.TooSlowError:
            self._hung_at = trio.current_time()
            raise TimedOut("the server does not answer, as with the session before") from None
        except (TimedOut, trio.Cancelled):
            self._hung_at = trio.current_time()
            raise
        self._catalogue.remove(session_id)
