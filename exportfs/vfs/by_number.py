"""Nodes by their number alone: what a file handle of NFS leads to, long after the kernel has forgotten the node, and
after a remount.

A number follows from what it stands for, so whatever the server still lists has the number that it had. A number that
is not among these is gone, and never another file's: what could be given twice (files in new/ are counted from anew by
each mount, and two hashes may meet) differs in its generation, which the kernel compares.
"""

from collections.abc import Iterator

import trio

from exportfs import record
from exportfs.errors import Gone, NotFound
from exportfs.sessions.catalogue import Entry
from exportfs.vfs.cameras.directory import OfCamera, camera_directory, camera_link
from exportfs.vfs.cameras.files import LISTED, CameraFile, listed_file
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import FIRST_IN_NEW, TEMPLATE
from exportfs.vfs.node import Directory, Node
from exportfs.vfs.pages.directory import DayPage
from exportfs.vfs.root import RootDirectory
from exportfs.vfs.sessions.directory import IdLink, Result, SessionDirectory, id_link, session_directory
from exportfs.vfs.sessions.files import InSession

AT_A_TIME = 200
"""Sessions whose numbers are made before somebody else has a turn: some milliseconds."""


class ByNumber:
    """Finds nodes, and what they are in."""

    def __init__(self, context: Context, root: RootDirectory) -> None:
        self._context = context
        self._root = root
        self._sessions: dict[int, str] = {}
        """The session to which a number belongs; made when it is first asked for."""
        self._noted: dict[str, tuple[object, tuple[int, ...]]] = {}
        """Of each session what its numbers were made from, and these."""

    async def find(self, ino: int) -> Node:
        """The node of a number. Raises Gone where nothing has it any more, and what a listing raises."""
        node = self._context.inodes.find(ino)
        if node is not None:
            if isinstance(node, Result):
                node.check_not_replaced()
            return node
        if not self._context.inodes.is_hash(ino):
            raise Gone("no longer there")
        node = await self._in_sessions(ino) or self._among_pages(ino) or await self._in_cameras(ino)
        if node is None:
            raise Gone("no longer there")
        return node

    def parent(self, node: Node) -> Directory:
        """The directory that holds it. Raises Gone."""
        if isinstance(node, SessionDirectory | IdLink):
            return self._root.sessions
        if isinstance(node, InSession):
            return session_directory(self._context, node.entry)
        if isinstance(node, CameraFile):
            return camera_directory(self._context, node.camera)
        if isinstance(node, OfCamera):
            return self._root.cameras
        if isinstance(node, DayPage):
            return self._root.pages
        if node.ino == TEMPLATE or node.ino >= FIRST_IN_NEW:
            return self._root.new
        return self._root

    async def _in_sessions(self, ino: int) -> Node | None:
        catalogue = self._context.catalogue
        if catalogue.error is None or ino not in self._sessions:  # as in a look-up by name
            await catalogue.fresh()
        if ino not in self._sessions:
            await self._note_numbers()
        entry = catalogue.get(self._sessions.get(ino, ""))
        # Also what was noted may have changed since: another size is another file.
        return self._chosen(ino, self._of_session(entry)) if entry is not None else None

    async def _note_numbers(self) -> None:
        catalogue = self._context.catalogue
        for gone in [key for key in self._noted if not catalogue.has(key)]:
            self._drop(gone)
        for place, entry in enumerate(catalogue, 1):
            if place % AT_A_TIME == 0:
                await trio.lowlevel.checkpoint()
            basis = (entry.session.state.files, entry.completed, entry.edition)
            known = self._noted.get(entry.id)
            if known is not None and known[0] == basis:
                continue
            self._drop(entry.id)
            numbers = tuple(self._number(node) for node in self._of_session(entry))
            self._noted[entry.id] = basis, numbers
            self._sessions.update((number, entry.id) for number in numbers)

    def _drop(self, session_id: str) -> None:
        for number in self._noted.pop(session_id, (None, ()))[1]:
            self._sessions.pop(number, None)

    def _of_session(self, entry: Entry) -> Iterator[Node]:
        directory = session_directory(self._context, entry)
        yield directory
        yield id_link(self._context, entry)
        for name in (record.SESSION, record.REQUEST, record.CONTROL):
            yield directory.ours(name)
        if entry.completed:
            yield from (directory.result(entry, place) for place in range(len(entry.names)))

    def _among_pages(self, ino: int) -> Node | None:
        pages = self._root.pages
        return self._chosen(ino, map(pages.page, pages.names()))

    async def _in_cameras(self, ino: int) -> Node | None:
        await self._context.cameras.fresh()
        key = self._context.inodes.remembered(ino)
        if key is None:
            return self._chosen(ino, self._of_cameras())
        _, access_point, name = key
        camera = self._context.cameras.get(access_point)
        if camera is None:
            return None
        try:
            return await camera_directory(self._context, camera).lookup(name)
        except NotFound:
            return None

    def _of_cameras(self) -> Iterator[Node]:
        context = self._context
        for _, camera in context.cameras:
            yield camera_directory(context, camera)
            yield camera_link(context, camera)
            yield from (listed_file(context, camera.access_point, name) for name in LISTED)

    def _chosen(self, ino: int, nodes: Iterator[Node]) -> Node | None:
        for node in nodes:
            if node.ino == ino:
                return node
            self._context.inodes.sweep(node)
        return None

    def _number(self, node: Node) -> int:
        self._context.inodes.sweep(node)
        return node.ino
