"""The catalogue: what sessions there are, as far as is known, and how fresh that is.

One listing answers every look into `sessions/` for a while; nobody asks the server per entry. What this mount itself
does (start, stop, destroy) shows at once, and a listing that was under way meanwhile does not undo it.
"""

import contextlib
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import trio

from exportfs.config import CONNECTION_QUIET
from exportfs.errors import ExportfsError, TimedOut
from exportfs.model import Session, SessionState, State
from exportfs.naming import disambiguate, result_names, session_name
from exportfs.sessions.editions import Editions
from exportfs.sessions.listed import as_written, in_known_order, no_step_back
from exportfs.sessions.service import SessionService
from exportfs.waits import CALL, Wait

log = logging.getLogger(__name__)

STRETCH = 20.0
"""A listing that takes a second is repeated no more often than every so many seconds: 5 % of the time."""
LIST_EVERY, FRESH, KERNEL = 0.4, 0.8, 0.2
"""Parts of the refresh interval: between two listings, the oldest that is shown, and how long the kernel may keep that.
The last two add up to the interval; the first leaves a slow listing time to come before anybody has to wait."""
APPEARS = 60.0
"""Seconds within which a session that was started here must be listed for the first time. Lists lag behind: one that
was destroyed is listed for 10 s more (observed). Until then only an answer about it says that it is gone."""
LINGERS = 300.0
"""Seconds for which a session that was destroyed here is not shown again, whatever is listed: a server was seen to list
one for 8 s. One that is still there after that was not destroyed, whatever the server answered."""
LOOKED = 30.0
"""Seconds after a look into `sessions/` for which the next one is expected, so that it need not wait."""
IDLE_LEAST = 30.0
IDLE_RATE = 500
"""While nobody looks: seconds between two listings at least, and bytes of listings a second at most. Half of the
1 KB/s that an idle mount may cost; the rest is for keeping sessions and the login alive."""
OVERHEAD = 500
"""Bytes of a call beside what it brings, about."""
NEW_CONNECTION = 6 << 10
"""Bytes of a new connection with TLS, about: it takes one where the pause before was long."""
FAIL_FAST = 1.0
"""Seconds for which a failed listing's error is the answer, without asking again."""


@dataclass(slots=True)
class Entry:
    """One session as the tree shows it. Replaced fields mean a new `version`."""

    session: Session
    name: str
    first_seen: float
    """Unix time."""
    changed: float
    """Unix time of the last change that was noticed."""
    version: int
    plain_name: str
    """Name without what tells equal names apart."""
    names: tuple[str, ...] = field(default=())
    """Names of the results, in the server's order."""
    places: dict[str, int] = field(default_factory=dict)
    """Of each name, its place in that order."""
    record_stamp: tuple[bytes, int] | None = None
    """Digest of the record that was last shown of it, and since when (ns since 1970): whoever shows it keeps it here,
    where it lasts as long as what it stands for."""
    asked: float = float("-inf")
    """When what is known of its state was asked for, by trio's clock; an answer asked for earlier is older news."""
    edition: int = 0
    """Which of the exports that its id has stood for."""
    as_sent: bool = False
    """Whether its options are those that were sent from here: no list has shown yet how the server writes them."""

    @property
    def id(self) -> str:
        return self.session.id

    @property
    def completed(self) -> bool:
        return self.session.state.state is State.COMPLETED


class Catalogue:
    """All sessions by id and by name. Belongs to one trio run; between two awaits all is consistent.

    refresh: seconds within which a change on the server shows. wall: Unix time.
    """

    def __init__(
        self,
        service: SessionService,
        *,
        refresh: float,
        timeout: float,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._service = service
        self.refresh_seconds = refresh
        self._timeout = timeout
        self._wall = wall
        self._entries: dict[str, Entry] = {}
        self._by_name: dict[str, Entry] = {}
        self._editions = Editions()
        self._versions = itertools.count(1)
        self._asked = float("-inf")
        """When the last listing that succeeded was asked for."""
        self._cost, self._size = 0.0, 0
        self._took = 0.0
        """Seconds that the last listing took."""
        self._waits: set[Wait] = set()
        """Of those who wait for a listing."""
        self._looked = float("-inf")
        self._failed: tuple[float, ExportfsError] | None = None
        self._listing: trio.Event | None = None
        self._wanted = trio.Event()
        # Id to the time of a change made here: listings asked for before that say nothing about it.
        self._touched: dict[str, float] = {}
        self._destroyed: dict[str, float] = {}
        """Ids of sessions that were destroyed here, and when."""
        self._unlisted: dict[str, float] = {}
        """Ids of sessions that were started here and that no listing has had yet, and since when."""
        self.on_gone: Callable[[str], None] = lambda session_id: None
        """Told the id of each session that is no longer there."""
        self.refreshed_at: float | None = None
        self.changes = 0
        self.named_at: float | None = None
        """Unix time when a session last came, went or got another name."""
        self.listings = 0
        """How many have been taken over."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._by_name.values()))

    def get(self, session_id: str) -> Entry | None:
        """The entry of an id, from memory."""
        return self._entries.get(session_id)

    def has(self, session_id: str) -> bool:
        """Whether there is such a session, from memory."""
        return session_id in self._entries

    def named(self, name: str) -> Entry | None:
        """The entry of a directory's name, from memory."""
        return self._by_name.get(name)

    @property
    def asked(self) -> float:
        """When the listing that is shown was asked for, by trio's clock: it knows nothing of what came after that."""
        return self._asked

    @property
    def error(self) -> ExportfsError | None:
        """Of the last listing, if it failed."""
        return self._failed[1] if self._failed else None

    @property
    def period(self) -> float:
        """Seconds between two listings in the background; many where nobody looks."""
        period = max(self.refresh_seconds * LIST_EVERY, self._cost * STRETCH, self._good_for / 2)
        if self.looked_at:
            return period
        period = max(period, IDLE_LEAST, (self._size + OVERHEAD) / IDLE_RATE)
        if period > CONNECTION_QUIET:
            period = max(period, (self._size + OVERHEAD + NEW_CONNECTION) / IDLE_RATE)
        return period

    @property
    def _good_for(self) -> float:
        """Seconds since it was asked for for which a listing is good although it is older than may be: one that takes
        longer than a call waits is shown for as long again as it took. Who goes down a path would wait for one at each
        step, and a thin line would carry nothing else."""
        return 2 * self._took if self._took > self._timeout else 0.0

    @property
    def looked_at(self) -> bool:
        """Whether somebody looked lately."""
        return trio.current_time() - self._looked < max(LOOKED, 3 * self.refresh_seconds)

    @property
    def kernel_seconds(self) -> float:
        """Seconds for which the kernel may keep what it is told now: as a rule listings are newer than the oldest that
        is shown, and what is left of the interval is the kernel's. A thousand names are looked at without a call."""
        left = self._asked + self.refresh_seconds - trio.current_time()
        return max(self.refresh_seconds * KERNEL, left)

    def look(self) -> None:
        """Somebody looks at what is answered from memory: a listing that is due comes soon, for the next look."""
        now = trio.current_time()
        self._looked = now
        if now - self._asked > max(self.period, self._cost, self._good_for) and self._listing is None:
            self._listing = trio.Event()
            self._wanted.set()

    async def fresh(self) -> None:
        """Returns when what is known is fresh enough to be shown.

        Raises what the listing raised; right after a failure without asking again, so that a file manager's
        hundred calls do not wait one timeout each.
        """
        now = self._looked = trio.current_time()
        if now - self._asked <= max(self.refresh_seconds * FRESH, self._cost, self._good_for):
            return
        if self._failed is not None and now - self._failed[0] < FAIL_FAST:
            raise self._failed[1]
        await self.update()

    async def fresh_if_heard(self, within: float) -> None:
        """As `fresh`, for no more than so many seconds, and not at all where the last listing failed: what is known
        then has to do."""
        if self._failed is not None:
            return
        with trio.move_on_after(within), contextlib.suppress(ExportfsError):
            await self.fresh()

    async def update(self, *, since: float | None = None) -> None:
        """Returns after a listing, shared by all who wait for one; asked for no earlier than `since`, if given.

        Raises what the listing raised, TimedOut when it takes too long: the timeout, from when something came last.
        A call into the mount that waits for it is given the same, within its own limit.
        """
        wait, call = Wait(self._timeout), CALL.get()
        waits = {wait} if call is None else {wait, call}
        self._waits |= waits
        try:
            with wait.scope:
                while True:
                    if self._listing is None:
                        self._listing = trio.Event()
                        self._wanted.set()
                    await self._listing.wait()
                    if self._failed is not None:
                        raise self._failed[1]
                    if since is None or self._asked >= since:
                        return
        finally:
            self._waits -= waits
        raise TimedOut("the list of sessions did not come in time")

    def _moved(self) -> None:
        for wait in self._waits:
            wait.moved()

    async def run(self) -> None:
        """Lists in the background, and when somebody wants it, until cancelled."""
        while True:
            if self._listing is None:
                self._listing = trio.Event()
            self._wanted = trio.Event()
            await self._list()
            done, self._listing = self._listing, None
            done.set()
            with trio.move_on_at(trio.current_time() + self.period):
                await self._wanted.wait()

    async def _list(self) -> None:
        asked = trio.current_time()
        try:
            listing = await self._service.list_sessions(self._moved)
        except ExportfsError as error:
            if self._failed is None:
                log.warning("could not list the sessions: %s", error)
            self._failed = (trio.current_time(), error)
            return
        self.apply(listing.sessions, asked)
        self._cost, self._size = listing.cost, listing.size
        self._took = trio.current_time() - asked
        if self._failed is not None:
            log.info("the sessions can be listed again")
        self._failed = None

    def apply(self, sessions: Iterable[Session], asked: float) -> None:
        """Takes over a listing that was asked for at `asked`."""
        self._asked = max(self._asked, asked)
        self.refreshed_at = self._wall()
        self.listings += 1
        self._touched = {key: when for key, when in self._touched.items() if when >= asked}
        listed = set()
        renamed = False
        sessions = list(sessions)
        ids = {session.id for session in sessions}
        self._forget_destroyed(ids, asked)
        self._unlisted = {
            key: when for key, when in self._unlisted.items() if key not in ids and asked - when <= APPEARS
        }
        for session in sessions:
            if session.id in self._touched or self._lingers(session.id, asked):
                continue
            listed.add(session.id)
            if session.state.state is State.REMOVED:
                renamed = self._drop(session.id) or renamed
            else:
                renamed = self._put(session, asked, listed=True) or renamed
        kept = listed | self._touched.keys() | self._unlisted.keys()
        for session_id in [key for key in self._entries if key not in kept]:
            renamed = self._drop(session_id) or renamed
        if renamed:
            self._name_all()

    def add(self, session: Session) -> Entry:
        """A session that was started here just now."""
        self._touched[session.id] = self._unlisted[session.id] = trio.current_time()
        self._destroyed.pop(session.id, None)  # a server may give an id again
        if self._put(session, trio.current_time()):
            self._name_all()
        entry = self._entries[session.id]
        entry.as_sent = True
        return entry

    def state(self, session_id: str, state: SessionState, *, asked: float | None = None) -> None:
        """What the server just said of one session. asked: when it was asked, where something else may have been heard
        since; None where the server did now what it says."""
        entry = self._entries.get(session_id)
        if entry is None or (asked is not None and asked < entry.asked):
            return
        if entry.completed and state.state is State.NONE:
            return  # which says nothing; that it runs again would say something
        self._touched[session_id] = trio.current_time()
        if state.state is State.REMOVED:
            self.remove(session_id)
        else:
            self._put(replace(entry.session, state=state), trio.current_time() if asked is None else asked)

    def remove(self, session_id: str) -> None:
        """The session is gone from the server, as far as was just heard."""
        self._touched[session_id] = trio.current_time()
        self._unlisted.pop(session_id, None)
        if self._drop(session_id):
            self._name_all()

    def destroyed(self, session_id: str) -> None:
        """The session was destroyed here: it is gone, also where the server goes on listing it for a while."""
        self._destroyed[session_id] = trio.current_time()
        self.remove(session_id)

    def was_destroyed(self, session_id: str) -> bool:
        """Whether the session was destroyed here, and has not proved to be there all the same."""
        return session_id in self._destroyed

    def _forget_destroyed(self, listed: set[str], asked: float) -> None:
        for key, when in list(self._destroyed.items()):
            if asked - when > LINGERS and key not in listed:
                del self._destroyed[key]

    def _lingers(self, session_id: str, asked: float) -> bool:
        when = self._destroyed.get(session_id)
        if when is None:
            return False
        if asked - when <= LINGERS:
            return True
        log.warning(
            "the server said that it destroyed session %s %.0f s ago, and still has it", session_id, LINGERS
        )
        del self._destroyed[session_id]
        return False

    def changed(self, session_id: str) -> None:
        """Something that the session's record shows has changed here."""
        entry = self._entries.get(session_id)
        if entry is not None:
            entry.version = next(self._versions)

    def _put(self, session: Session, asked: float, *, listed: bool = False) -> bool:
        """Adds or replaces; True where names have to be made anew. listed: a list says so, which may lag behind."""
        entry = self._entries.get(session.id)
        before = None
        if entry is not None:
            before = entry.session
            entry.asked = asked
            if listed:
                if entry.as_sent:
                    before = as_written(before, session)
                entry.as_sent = False
                session = no_step_back(session, before)
            session = in_known_order(session, before)
            if entry.session is session or entry.session == session:
                return False
        self.changes += 1
        now = self._wall()
        edition = self._editions.of(session, before)
        if entry is None:
            plain = session_name(session.id, session.summary)
            entry = Entry(session, plain, now, now, next(self._versions), plain, asked=asked, edition=edition)
            self._entries[session.id] = entry
            self._name_results(entry)
            return True
        plain = session_name(session.id, session.summary)
        renamed, entry.plain_name = plain != entry.plain_name, plain
        files_changed = entry.session.state.files != session.state.files
        entry.session, entry.changed, entry.version = session, now, next(self._versions)
        entry.edition = edition
        if files_changed:
            self._name_results(entry)
        return renamed

    def _name_results(self, entry: Entry) -> None:
        files = entry.session.state.files
        entry.names = tuple(result_names((file.path, file.mime_type) for file in files))
        entry.places = {name: place for place, name in enumerate(entry.names)}

    def _drop(self, session_id: str) -> bool:
        entry = self._entries.pop(session_id, None)
        if entry is None:
            return False
        self.changes += 1
        self._editions.gone(entry.session)
        self.on_gone(session_id)
        return True

    def _name_all(self) -> None:
        self.named_at = self._wall()
        names = disambiguate((key, entry.plain_name) for key, entry in self._entries.items())
        self._by_name = {}
        for session_id, name in names:
            entry = self._entries[session_id]
            entry.name = name
            self._by_name[name] = entry
