"""Stopping and destroying sessions."""

import contextlib

from exportfs.errors import NotFound
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.journal import Journal
from exportfs.sessions.service import SessionService


class Actions:
    """What the verbs of `.control` and rmdir do."""

    def __init__(self, service: SessionService, catalogue: Catalogue, journal: Journal) -> None:
        self._service = service
        self._catalogue = catalogue
        self._journal = journal
        self._stopped: set[str] = set()

    def was_stopped(self, session_id: str) -> bool:
        """Whether the session was stopped through this mount, or one before it."""
        record = self._journal.of_session(session_id)
        return session_id in self._stopped or (record is not None and record.stopped)

    async def stop(self, session_id: str) -> None:
        """Stops a running export. Raises NotFound where the session is gone, Busy where it cannot be stopped."""
        try:
            state = await self._service.stop_session(session_id)
        except NotFound:
            self._catalogue.remove(session_id)
            raise
        self._stopped.add(session_id)
        self._journal.stopped(session_id)
        self._catalogue.state(session_id, state)
        self._catalogue.changed(session_id)

    async def destroy(self, session_id: str) -> None:
        """Deletes the session and its results on the server. Gone already is as good."""
        with contextlib.suppress(NotFound):
            await self._service.destroy_session(session_id)
        self._catalogue.remove(session_id)
