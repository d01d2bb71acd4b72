"""The root: README.txt, index.html, .status.json, cameras/, new/ and sessions/. All of it is answered from memory."""

import stat
from collections.abc import Callable

from exportfs import record
from exportfs.errors import NotFound
from exportfs.vfs.cameras.directory import CamerasDirectory
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import README, ROOT, STATUS
from exportfs.vfs.metrics.file import MetricsFile
from exportfs.vfs.new.directory import NewDirectory
from exportfs.vfs.node import SECOND, Attributes, Directory, Entries, FixedNodes, Node
from exportfs.vfs.pages.directory import IndexPage, PagesDirectory
from exportfs.vfs.pages.overview import FOLDER, INDEX, Overview
from exportfs.vfs.sessions.directory import SessionsDirectory
from exportfs.vfs.texts import FixedText, LivingText, TextMaker

README_TEXT = """\
This folder shows the exports of a video-management server (Axxon One).

index.html   all of it at a glance, with players: open it in a browser.
cameras/     one folder for each camera. `footage` in it (type the name) says what was recorded;
             request.json is a request for its last five minutes.
sessions/    one folder for each export on the server. Its results are ordinary files: copy them, play them.
             .session.json in it says how far the export is, and until when the server keeps it.
new/         put a request here to start an export. new/.template.json is one to start from:
                 cp new/.template.json my.json      then edit camera and times, and
                 cp my.json new/
             new/my then leads to the export's folder. If something is wrong, new/my.json.error says what.

To stop an export:                       echo stop > sessions/NAME/.control
To delete it on the server, for all:     echo destroy > sessions/NAME/.control
Nothing else deletes: rm, rmdir, a file manager and rsync --delete are refused. Results are read-only.

The server deletes an export an hour after it was last used. Copy what you want to keep.
More: axxon-exportfs --help
"""


class RootDirectory(Directory):
    """The mount point."""

    __slots__ = ("_metrics", "_mtime_ns", "_named", "_unlisted", "cameras", "new", "pages", "sessions")

    def __init__(
        self, context: Context, status: TextMaker, metrics: MetricsFile, server: Callable[[], str]
    ) -> None:
        """server: the server's address, for people."""
        super().__init__(ROOT)
        self.new = NewDirectory(context)
        self.cameras = CamerasDirectory(context)
        self.sessions = SessionsDirectory(context)
        self._mtime_ns = int(context.mounted_at * SECOND)
        overview = Overview(context, server)
        self.pages = PagesDirectory(context, overview)
        self._metrics = metrics
        self._unlisted: dict[str, Node] = {FOLDER: self.pages, record.METRICS: metrics}
        self._named: dict[str, Node] = {
            "README.txt": FixedText(README, README_TEXT.encode, context.mounted_at),
            INDEX: IndexPage(context, overview),
            record.STATUS: LivingText(STATUS, status, context.wall, context.mounted_at),
            "cameras": self.cameras,
            "new": self.new,
            "sessions": self.sessions,
        }
        for node in (self, *self._named.values(), *self._unlisted.values()):
            context.inodes.pin(node)

    def attributes(self) -> Attributes:
        return Attributes(ROOT, stat.S_IFDIR | 0o555, nlink=5, mtime_ns=self._mtime_ns, cache_timeout=1.0)

    async def lookup(self, name: str) -> Node:
        node = self._named.get(name) or self._unlisted.get(name)
        if node is None:
            raise NotFound("no such file")
        if node is self._metrics:
            await self._metrics.load()
        return node

    async def entries(self) -> Entries:
        return Entries(list(self._named), FixedNodes(self._named.values()))
