"""What the pages show: all sessions, newest footage first, and the text of each page."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from exportfs.errors import NotFound
from exportfs.model import downloadable, location
from exportfs.pages.overview import (
    FurtherPage,
    PageView,
    ResultView,
    SessionView,
    overview_page,
    session_part,
)
from exportfs.pages.times import Interval, day_of, maybe, moment, zone
from exportfs.record import COMPLETED, FAILED, RUNNING, STOPPED
from exportfs.sessions.catalogue import Entry
from exportfs.timestamps import parse_server
from exportfs.vfs.context import Context
from exportfs.vfs.node import SECOND
from exportfs.vfs.sessions import records

if TYPE_CHECKING:
    from markupsafe import Markup

MOST = 200
"""Sessions on one page."""
KEPT_PAGES, KEPT_PARTS = 8, 10 * MOST
"""Texts that are kept for the next look: of pages, and of sessions."""
INDEX, FOLDER, STILL = "index.html", ".pages", "still.html"
MINUTE = 60
T = TypeVar("T")
STATES = (RUNNING, COMPLETED, STOPPED, FAILED)


class Overview:
    """Makes the pages of one mount. Belongs to one trio run; nothing in it waits.

    server: the server's address, for people.
    """

    def __init__(self, context: Context, server: Callable[[], str]) -> None:
        self._context = context
        self._server = server
        self._zone = zone()
        self._sorted: tuple[int, list[Entry]] = (-1, [])
        self._starts: dict[str, tuple[int, int, str]] = {}
        """Of each session's id: version, since when its footage is (ns since 1970), and that as a day."""
        self._by_day: tuple[int, dict[str, list[Entry]]] = (-1, {})
        self._parts: dict[tuple[str, str], tuple[tuple[Any, ...], Markup]] = {}
        """Of each session's id and page depth: of what it was made, and the session's part of the page."""
        self._expiries: dict[str, int] = {}
        self._made: dict[str, tuple[tuple[Any, ...], bytes]] = {}
        """Of each page: of what it was made, and its text."""

    def index(self) -> bytes:
        """`index.html`"""
        return self._first(INDEX, up="", refreshes=True)

    def page(self, name: str) -> bytes:
        """A page in `.pages/`. Raises NotFound."""
        if name == STILL:
            return self._first(name, up="../", refreshes=False)
        entries = self._further().get(name)
        if entries is None:
            raise NotFound("no such page")
        return self._page(name, f"Exports of {self._day(entries[0])}", entries, up="../", refreshes=True)

    def names(self) -> list[str]:
        """Of the pages in `.pages/`."""
        return [STILL, *self._further()]

    def _first(self, name: str, *, up: str, refreshes: bool) -> bytes:
        return self._page(name, "Exports", self._all()[:MOST], up=up, refreshes=refreshes)

    def _all(self) -> list[Entry]:
        """Newest footage first."""
        catalogue = self._context.catalogue
        if self._sorted[0] != catalogue.changes:
            listed = list(catalogue)
            self._starts = {entry.id: self._start(entry) for entry in listed}
            listed.sort(key=lambda entry: (-self._starts[entry.id][1], entry.name))
            known = self._starts
            self._parts = {key: part for key, part in self._parts.items() if key[0] in known}
            self._expiries = {key: at for key, at in self._expiries.items() if key in known}
            self._sorted = (catalogue.changes, listed)
        return self._sorted[1]

    def _start(self, entry: Entry) -> tuple[int, int, str]:
        known = self._starts.get(entry.id)
        if known is not None and known[0] == entry.version:
            return known
        summary = entry.session.summary
        since = records.first_moment(entry.first_seen, summary.start, summary.end)
        day = day_of(datetime.fromtimestamp(since // SECOND, UTC), self._zone)
        return entry.version, since, day

    def _day(self, entry: Entry) -> str:
        return self._starts[entry.id][2]

    def _further(self) -> dict[str, list[Entry]]:
        """Pages by day of all days, newest first: `2026-05-11.html`, then `2026-05-11.2.html` and so on."""
        entries = self._all()
        if self._by_day[0] != self._sorted[0]:
            pages = {}
            for day, held in _grouped(entries, self._day):
                for number, begin in enumerate(range(0, len(held), MOST), 1):
                    name = f"{day}.html" if number == 1 else f"{day}.{number}.html"
                    pages[name] = held[begin : begin + MOST]
            self._by_day = (self._sorted[0], pages)
        return self._by_day[1]

    def _page(self, name: str, title: str, entries: list[Entry], *, up: str, refreshes: bool) -> bytes:
        context, catalogue = self._context, self._context.catalogue
        trouble = None if catalogue.error is None else str(catalogue.error)
        keys = [self._key(entry) for entry in entries]
        made_of = (self._server(), catalogue.changes, trouble, keys)
        known = self._made.get(name)
        if known is not None and known[0] == made_of:
            return known[1]
        parts = [self._part(entry, key, up) for entry, key in zip(entries, keys, strict=True)]
        counts = Counter(records.state_word(context, entry.session) for entry in catalogue)
        shown = {entry.id for entry in entries}
        running = any(not entry.completed for entry in (entries if name not in (INDEX, STILL) else catalogue))
        heard = catalogue.refreshed_at
        view = PageView(
            server=self._server(),
            title=title,
            total=len(catalogue),
            shown=len(entries),
            counts=tuple((state, counts[state]) for state in STATES if counts[state]),
            trouble=trouble,
            as_of=None
            if heard is None
            else moment(datetime.fromtimestamp(int(heard), UTC), self._zone).local,
            refreshes=refreshes and running,
            still=f"{FOLDER}/{STILL}" if name == INDEX else None,
            up=up,
            further=[
                FurtherPage(other.removesuffix(".html"), f"{FOLDER}/{other}", len(held))
                for other, held in self._further().items()
                if any(entry.id not in shown for entry in held)
            ]
            if name in (INDEX, STILL) and len(entries) < len(catalogue)
            else (),
        )
        together = zip(entries, parts, strict=True)
        days = [
            (day, [part for _, part in held])
            for day, held in _grouped(together, lambda both: self._day(both[0]))
        ]
        text = overview_page(view, days)
        self._made[name] = (made_of, text)
        if len(self._made) > KEPT_PAGES:
            del self._made[next(iter(self._made))]
        return text

    def _key(self, entry: Entry) -> tuple[Any, ...]:
        """All that a session's part of a page is made of."""
        session = entry.session
        return (
            entry.id,
            entry.version,
            entry.name,
            records.state_word(self._context, session),
            records.labels(self._context, session),
            self._expiry(entry),
        )

    def _part(self, entry: Entry, key: tuple[Any, ...], up: str) -> "Markup":
        known = self._parts.get((entry.id, up))
        if known is None or known[0] != key:
            known = (key, session_part(self._view(entry), up))
            if len(self._parts) > KEPT_PARTS:
                self._parts.clear()
            self._parts[entry.id, up] = known
        return known[1]

    def _view(self, entry: Entry) -> SessionView:
        context, session = self._context, entry.session
        summary, state = session.summary, session.state
        word = records.state_word(context, session)
        begin, end = parse_server(summary.start), parse_server(summary.end)
        if summary.live:
            begin, end = datetime.fromtimestamp(int(entry.first_seen), UTC), None
        results = (
            tuple(
                ResultView(
                    name, file.size, None if downloadable(summary, file) else location(summary, file) or "?"
                )
                for name, file in zip(entry.names, state.files, strict=True)
            )
            if entry.completed
            else ()
        )
        coverage = records.coverage_of(session)
        return SessionView(
            name=entry.name,
            cameras=records.labels(context, session),
            interval=Interval(maybe(begin, self._zone), maybe(end, self._zone)),
            live=summary.live,
            kind=summary.kind,
            state=word,
            progress=records.progress(session),
            expiry=self._expiry(entry),
            error=records.error_of(session, word),
            warnings=coverage.warnings if coverage is not None else (),
            results=results,
        )

    def _expiry(self, entry: Entry) -> str:
        """In words, to the minute: an estimate that moves by less is the same."""
        keeper = self._context.keeper
        if keeper.kept(entry.id):
            return "kept on the server while it is in use" if entry.completed else ""
        left = keeper.expires_in(entry.id)
        if left is None:
            return ""
        at = int(self._context.wall() + left)
        if abs(at - self._expiries.get(entry.id, 0)) >= MINUTE:
            self._expiries[entry.id] = at
        at = self._expiries[entry.id] // MINUTE * MINUTE
        local = moment(datetime.fromtimestamp(at, UTC), self._zone).local
        what = "deletes it" if entry.completed else "stops it unless somebody asks about it,"
        return f"the server {what} at about {local}"


def _grouped(items: Iterable[T], key: Callable[[T], str]) -> Iterator[tuple[str, list[T]]]:
    groups: dict[str, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    yield from groups.items()
