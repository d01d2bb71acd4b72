"""The nodes of the pages: `index.html`, and `.pages/` with those that are found by name."""

import stat

from exportfs.errors import Gone, NotFound
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import INDEX, PAGES
from exportfs.vfs.node import SECOND, Attributes, Directory, Entries, Handle, Node, NodeMaker, Snapshot, Text
from exportfs.vfs.pages.overview import Overview

LISTING_WAIT = 1.0
"""Seconds that opening a page waits for a listing that is due."""


class Page(Text):
    """A page. Its time of modification changes with its text and only then, by a second at least: programs that compare
    no more than size and time must not take it for the old one."""

    def __init__(self, ino: int, context: Context, overview: Overview) -> None:
        super().__init__(ino)
        self.context = context
        self.overview = overview
        self._shown: Snapshot | None = None

    def text(self) -> bytes:
        """What it shows now. Raises Gone where it shows nothing any more."""
        raise NotImplementedError

    def attributes(self) -> Attributes:
        self.context.catalogue.look()
        return super().attributes()

    async def open(self, flags: int) -> Handle:
        # Nobody may have looked for long. As with a session's record: what was heard last is better than nothing.
        await self.context.catalogue.fresh_if_heard(LISTING_WAIT)
        return await super().open(flags)

    def snapshot(self) -> Snapshot:
        text, last = self.text(), self._shown
        if last is None or text != last.data:
            now_ns = int(self.context.wall() * SECOND)
            mtime_ns = now_ns if last is None else max(now_ns, last.mtime_ns + SECOND)
            self._shown = last = Snapshot(text, mtime_ns, int(self.context.mounted_at * SECOND))
        return last


class IndexPage(Page):
    """`index.html`"""

    def __init__(self, context: Context, overview: Overview) -> None:
        super().__init__(INDEX, context, overview)

    def text(self) -> bytes:
        return self.overview.index()


class DayPage(Page):
    """A page in `.pages/`."""

    def __init__(self, ino: int, context: Context, overview: Overview, name: str) -> None:
        super().__init__(ino, context, overview)
        self.name = name

    def text(self) -> bytes:
        try:
            return self.overview.page(self.name)
        except NotFound:
            raise Gone("the exports of this day are gone") from None


class PagesDirectory(Directory):
    """`.pages/`: found by name, and not listed in the root."""

    __slots__ = ("_context", "_overview")

    def __init__(self, context: Context, overview: Overview) -> None:
        super().__init__(PAGES)
        self._context = context
        self._overview = overview

    def attributes(self) -> Attributes:
        mtime_ns = int(self._context.mounted_at * SECOND)
        return Attributes(PAGES, stat.S_IFDIR | 0o555, nlink=2, mtime_ns=mtime_ns)

    async def lookup(self, name: str) -> Node:
        if name not in self.names():
            raise NotFound("no such page")
        return self.page(name)

    async def entries(self) -> Entries:
        return Entries(self.names(), _Pages(self))

    def names(self) -> list[str]:
        """Of all pages that there are."""
        return self._overview.names()

    def page(self, name: str) -> DayPage:
        """The node of a page."""
        context, overview = self._context, self._overview
        return context.inodes.intern(
            ("page", name), lambda ino: DayPage(ino, context, overview, name), late=True
        )


class _Pages(NodeMaker):
    def __init__(self, directory: PagesDirectory) -> None:
        self._directory = directory

    def node(self, place: int, name: str) -> Node:
        return self._directory.page(name)
