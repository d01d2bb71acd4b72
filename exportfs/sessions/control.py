"""Stopping and destroying sessions."""

import contextlib

from exportfs.errors import ExportfsError, Gone, Interrupted, NotFound, NotSent, TimedOut, Unreachable
from exportfs.model import State
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.ledger import Records
from exportfs.sessions.service import SessionService

_UNKNOWN = (Interrupted, TimedOut, Unreachable)
"""Failures after which the server may have done what it was asked; NotSent, of the last kind, is not one."""


class Actions:
    """What the verbs of `.control` do."""

    def __init__(self, service: SessionService, catalogue: Catalogue, records: Records) -> None:
        self._service = service
        self._catalogue = catalogue
        self._records = records
        self._stopped: set[str] = set()
        """Sessions that ran when they were asked to stop, unless that was refused."""

    def was_stopped(self, session_id: str) -> bool:
        """Whether the session was stopped through this mount, or one before it."""
        record = self._records.of_session(session_id)
        return session_id in self._stopped or (record is not None and record.stopped)

    async def stop(self, session_id: str) -> None:
        """Stops a running export. Raises Gone where there is no such session, Busy where it cannot be stopped."""
        entry = self._catalogue.get(session_id)
        # What had completed before was not stopped by us, whatever the server answers. What a poll sees complete while
        # we wait for the answer was: hence noted before.
        noted = session_id not in self._stopped and (entry is None or not entry.completed)
        if noted:
            self._stopped.add(session_id)
        try:
            state = await self._service.stop_session(session_id)
        except NotFound as error:
            self._stopped.discard(session_id)
            self._catalogue.remove(session_id)
            raise Gone(str(error)) from None
        except ExportfsError as error:
            if noted and (isinstance(error, NotSent) or not isinstance(error, _UNKNOWN)):
                self._stopped.discard(session_id)
                self._catalogue.changed(session_id)
            raise
        if session_id in self._stopped:
            self._records.stopped(session_id)
        if state.state is not State.NONE:
            self._catalogue.state(session_id, state)
        self._catalogue.changed(session_id)

    async def destroy(self, session_id: str) -> None:
        """Deletes the session and its results on the server, for everybody. Gone already is as good.

        Raises TimedOut where it is unknown whether that was done.
        """
        with contextlib.suppress(NotFound):
            await self._service.destroy_session(session_id)
        self._catalogue.destroyed(session_id)
        self._records.destroyed(session_id)
