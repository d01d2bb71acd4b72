"""The overview of a mount: sessions with their results, as a page."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exportfs.pages.rendering import fragment, render
from exportfs.pages.safe import kind_of, link
from exportfs.pages.times import Interval

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_RESULTS = 50
"""Results of one session on the page; further ones are in its folder."""
REFRESH_SECONDS = 10
"""How often a browser shows a page with running exports anew."""


@dataclass(frozen=True, slots=True)
class ResultView:
    """One result."""

    name: str
    size: int
    """Bytes."""
    location: str | None = None
    """Where it is, if not in the mount."""

    @property
    def kind(self) -> str:
        return kind_of(self.name)


@dataclass(frozen=True, slots=True)
class SessionView:
    """One session. Texts are as the server sent them; the page makes them harmless."""

    name: str
    """Of its directory."""
    cameras: tuple[str, ...]
    """Labels, or access points."""
    interval: Interval
    live: bool
    kind: str
    """`mp4`, `jpg` and so on."""
    state: str
    """`running completed failed stopped`"""
    progress: float | None
    """0 to 1; None where it cannot be told."""
    expiry: str
    """In words; empty where it is not known."""
    error: str | None
    warnings: tuple[str, ...]
    results: tuple[ResultView, ...]

    @property
    def anchor(self) -> str:
        return "s-" + link(self.name)

    @property
    def percent(self) -> int:
        """Rounded down, as nothing is done before it is."""
        return int((self.progress or 0.0) * 100)

    @property
    def size(self) -> int:
        return sum(result.size for result in self.results)


@dataclass(frozen=True, slots=True)
class FurtherPage:
    """A page of further sessions."""

    title: str
    href: str
    """Relative to the mount."""
    count: int


@dataclass(frozen=True, slots=True)
class PageView:
    """What is on a page besides the sessions."""

    server: str
    title: str
    total: int
    """Sessions of the server."""
    shown: int
    counts: tuple[tuple[str, int], ...]
    """State and number of sessions in it."""
    trouble: str | None
    """Why the server does not answer."""
    as_of: str | None
    """When it last did, where it does not now."""
    refreshes: bool
    still: str | None
    """Link to the same page that does not refresh itself, relative to the mount."""
    up: str = ""
    """From the page to the mount."""
    further: Sequence[FurtherPage] = field(default=())


def session_part(session: SessionView, up: str = "") -> "Markup":
    """A session's part of a page. up: from the page to the mount."""
    return fragment("session.html", session=session, up=up, link=link, most=MOST_RESULTS)


def overview_page(page: PageView, days: "Sequence[tuple[str, Sequence[Markup]]]") -> bytes:
    """The page; `days` are headings and the sessions below each."""
    refresh = REFRESH_SECONDS if page.refreshes else None
    return render("overview.html", page=page, days=days, refresh=refresh)
