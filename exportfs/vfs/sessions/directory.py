"""`sessions/`: a directory for each session on the server, and below it results, records and `.control`."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote_to_bytes

from exportfs import record
from exportfs.content.download import FileKey
from exportfs.content.reader import Reader
from exportfs.errors import (
    Gone,
    NotFound,
    NotPermitted,
)
from exportfs.model import ResultFile, Session, SessionState, downloadable, location
from exportfs.naming import encode, percent_encode, readable
from exportfs.sessions.catalogue import KERNEL, Entry
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import SESSIONS
from exportfs.vfs.node import (
    SECOND,
    Attributes,
    Directory,
    Entries,
    Handle,
    Node,
    NodeMaker,
    Opening,
)
from exportfs.vfs.sessions import records
from exportfs.vfs.sessions.files import Control, InSession, RequestRecord, SessionRecord

OURS = frozenset({record.SESSION, record.REQUEST, record.CONTROL})
RECORDS_WAIT = 1.0
"""Seconds that a look at a record waits for a listing that is due."""
XATTR_SIZE_MAX = 65536
"""Bytes (Linux)."""
LONGEST_TARGET = 4000
"""Bytes; a symbolic link of more than a page cannot be read."""


class SessionsDirectory(Directory):
    """`sessions/` itself. Its attributes come from memory, whatever the server does."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        super().__init__(SESSIONS)
        self._context = context

    def attributes(self) -> Attributes:
        catalogue = self._context.catalogue
        catalogue.look()
        # Not when a session merely gets on: `tar` takes a directory whose time changes for one that changed.
        mtime_ns = int((catalogue.named_at or self._context.mounted_at) * SECOND)
        return Attributes(
            SESSIONS,
            stat.S_IFDIR | 0o755,
            nlink=2 + len(catalogue),
            mtime_ns=mtime_ns,
            # Requests change it that are dropped here, which is to show.
            cache_timeout=catalogue.refresh_seconds * KERNEL,
        )

    async def lookup(self, name: str) -> Node:
        catalogue = self._context.catalogue
        # What file managers look for (.Trash, .hidden, .directory) is not worth waiting for the server. And while that
        # is known to be away, the way to the records of a session that it had last is open.
        if not name.startswith(".") and (catalogue.error is None or catalogue.named(name) is None):
            await catalogue.fresh()
        entry = catalogue.named(name)
        if entry is not None:
            return session_directory(self._context, entry)
        entry = catalogue.get(unquote_to_bytes(encode(name)).decode("utf-8", "surrogateescape"))
        if entry is None or percent_encode(entry.id) != name:
            raise NotFound("no such session")
        return id_link(self._context, entry)

    async def entries(self) -> Entries:
        await self._context.catalogue.fresh()
        listed = list(self._context.catalogue)
        return Entries([entry.name for entry in listed], _Sessions(self._context, listed))


class _Sessions(NodeMaker):
    def __init__(self, context: Context, listed: list[Entry]) -> None:
        self._context = context
        self._listed = listed

    def node(self, place: int, name: str) -> Node:
        entry = self._listed[place]
        if self._context.catalogue.get(entry.id) is not entry:
            raise NotFound("gone meanwhile")
        return session_directory(self._context, entry)


def _all_origins(context: Context, first: Entry) -> Iterator[str]:
    """Of the session that is looked at, and of the others: one question answers for all."""
    yield from records.origins(first.session)
    for entry in context.catalogue:
        yield from records.origins(entry.session)


def session_directory(context: Context, entry: Entry) -> "SessionDirectory":
    """The node of a session."""
    return context.inodes.intern(("session", entry.id), lambda ino: SessionDirectory(ino, context, entry.id))


def id_link(context: Context, entry: Entry) -> "IdLink":
    """The node of the link that an id is."""
    return context.inodes.intern(("id", entry.id), lambda ino: IdLink(ino, context, entry.id))


class IdLink(InSession):
    """`sessions/<id, percent-encoded>`: leads to the directory, whatever its name."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        return _link_attributes(self.ino, self.target(), self.entry.first_seen, self.context.cache_timeout)

    def target(self) -> str:
        return self.entry.name


class SessionDirectory(InSession, Directory):
    """One session."""

    __slots__ = ("_footage_end", "_last")

    def __init__(self, ino: int, context: Context, session_id: str) -> None:
        super().__init__(ino, context, session_id)
        self._last: Attributes | None = None
        self._footage_end: tuple[Session, float, int] | None = None
        """Of the session as it was, first seen then: the times of thousands of results are read when they change, not
        each time that the kernel asks."""

    def attributes(self) -> Attributes:
        """Those of a directory that has been removed, where the session is gone: the kernel asks for them before it
        looks for a name in it, which is to be ENOENT whenever it last asked."""
        catalogue = self.context.catalogue
        if self._last is not None and catalogue.get(self.session_id) is None:
            return replace(self._last, nlink=0)
        entry = self.entry
        catalogue.look()
        self._last = Attributes(
            self.ino,
            stat.S_IFDIR | 0o755,
            nlink=2,
            mtime_ns=self._modified(entry),
            cache_timeout=self.context.cache_timeout,
        )
        return self._last

    def _modified(self, entry: Entry) -> int:
        known = self._footage_end
        if known is None or known[0] is not entry.session or known[1] != entry.first_seen:
            moment = records.footage_end(entry.session, entry.first_seen)
            self._footage_end = known = entry.session, entry.first_seen, moment
        return known[2]

    def check_there(self) -> None:
        self.entry  # noqa: B018 # raises Gone

    def xattrs(self) -> Mapping[str, bytes]:
        session = self.entry.session
        values = {
            "id": encode(session.id),
            "state": records.state_word(self.context, session).encode(),
            "progress": _text(records.progress(session)),
            "expires": _text(records.expires_at(self.context, session.id)),
            "cameras": "; ".join(map(readable, records.labels(self.context, session))).encode(),
            "kept_alive": b"true" if self.context.keeper.kept(session.id) else b"false",
        }
        return _fitting({f"user.exportfs.{key}": value for key, value in values.items()})

    async def lookup(self, name: str) -> Node:
        try:
            return await self._find(name)
        except Gone as error:
            # A name that is no longer there: programs that copy trees take ESTALE for a failure of the medium.
            raise NotFound(str(error)) from None

    async def _find(self, name: str) -> Node:
        if name.startswith("."):
            # No result has such a name. What file managers look for is not worth waiting for the server, and what
            # was heard last is better than nothing.
            if name in OURS:
                await self.context.catalogue.fresh_if_heard(RECORDS_WAIT)
            if name == record.SESSION:
                await self._acquaint()
            return self.ours(name)
        await self.context.catalogue.fresh()
        entry = self.entry
        if entry.completed and name in entry.places:
            return self.result(entry, entry.places[name])
        return self.ours(name)

    async def entries(self) -> Entries:
        await self.context.catalogue.fresh()
        await self._acquaint()
        entry = self.entry
        results = list(entry.names) if entry.completed else []
        files = entry.session.state.files
        return Entries([*results, record.SESSION, record.REQUEST], _Results(self, entry, files, len(results)))

    async def _acquaint(self) -> None:
        """Before the record is looked at for the first time, which a listing does, too: so that it stands still."""
        if self.context.cameras.strange(records.origins(self.entry.session)):
            await self.context.cameras.acquaint(_all_origins(self.context, self.entry))

    def result(self, entry: Entry, place: int) -> Node:
        """The node of one result."""
        return self.result_of(entry, entry.names[place], entry.session.state.files[place])

    def result_of(self, entry: Entry, name: str, file: ResultFile) -> Node:
        context, session_id = self.context, self.session_id
        if downloadable(entry.session.summary, file):
            edition = entry.edition
            again = (str(edition),) if edition else ()
            key = ("result", session_id, name, file.path, str(file.size), *again)
            return context.inodes.intern(key, lambda ino: Result(ino, context, session_id, file, edition))
        return context.inodes.intern(
            ("remote", session_id, name, file.path), lambda ino: RemoteLink(ino, context, session_id, file)
        )

    def ours(self, name: str) -> Node:
        """The node of a record or of `.control`. Raises NotFound."""
        context, session_id = self.context, self.entry.id
        key = ("ours", session_id, name)
        if name == record.SESSION:
            return context.inodes.intern(key, lambda ino: SessionRecord(ino, context, session_id), late=True)
        if name == record.REQUEST:
            return context.inodes.intern(key, lambda ino: RequestRecord(ino, context, session_id), late=True)
        if name == record.CONTROL:
            return context.inodes.intern(key, lambda ino: Control(ino, context, session_id), late=True)
        raise NotFound("no such result")


class _Results(NodeMaker):
    def __init__(
        self, directory: SessionDirectory, entry: Entry, files: tuple[ResultFile, ...], count: int
    ) -> None:
        self._directory = directory
        self._entry = entry
        self._files = files
        self._count = count

    def node(self, place: int, name: str) -> Node:
        if place < self._count:
            return self._directory.result_of(self._entry, name, self._files[place])
        return self._directory.ours(name)


class Result(InSession):
    """A result that can be downloaded: a read-only file whose bytes never change."""

    __slots__ = ("_edition", "_open", "_seen", "file")

    def __init__(self, ino: int, context: Context, session_id: str, file: ResultFile, edition: int) -> None:
        super().__init__(ino, context, session_id)
        self.file = file
        self._edition = edition
        self._open = 0
        self._seen: SessionState | None = None
        """The state in which this file was found last: looked through once, not with each read."""

    def attributes(self) -> Attributes:
        file, entry = self.file, self.context.catalogue.get(self.session_id)
        if entry is None and not self._open:
            raise Gone("the session is gone from the server")
        summary = entry.session.summary if entry else None
        stamps = (file.max_timestamp, file.min_timestamp, summary.end if summary else "")
        return Attributes(
            self.ino,
            stat.S_IFREG | 0o444,
            file.size,
            mtime_ns=records.first_moment(entry.first_seen if entry else 0, *stamps),
            block_size=self.context.library.line.preferred,
            cache_timeout=self.context.cache_timeout,
        )

    def xattrs(self) -> Mapping[str, bytes]:
        return _fitting({"user.mime_type": encode(self.file.mime_type) or None})

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("results are read-only")
        entry = self.entry
        self.check_not_replaced()
        library = self.context.library
        key = FileKey(entry.id, self.file.path, self.file.size, self._edition)
        # Read past the kernel's cache, a read is the program's own.
        handle = ResultHandle(self, library.open(key, guesses=not flags & os.O_DIRECT))
        self._open += 1
        self.context.keeper.opened(entry.id)
        try:
            await library.measure(handle.reader)
            # The kernel asks for no byte of an empty file, so a size that does not hold would not show in a read.
            await handle.reader.prove_empty()
        except BaseException:
            await handle.release()
            raise
        return handle

    def check_not_replaced(self) -> None:
        """Raises Gone where the server lists another file under the same id: its bytes must not pass for this one's.

        Also where its session was destroyed here: the server may go on giving its bytes for some seconds.
        """
        if self.context.catalogue.was_destroyed(self.session_id):
            raise Gone("the session was destroyed")
        entry = self.context.catalogue.get(self.session_id)
        if entry is None or entry.session.state is self._seen:
            return  # or the session is gone: the server will say so
        sizes = [file.size for file in entry.session.state.files if file.path == self.file.path]
        if entry.edition != self._edition:
            raise Gone("the server has given its id to another export")
        if sizes and self.file.size not in sizes:
            raise Gone("the server has another file in its place")
        self._seen = entry.session.state

    def closed(self) -> None:
        """One handle less."""
        self._open -= 1
        self.context.keeper.closed(self.session_id)


@dataclass(eq=False)
class ResultHandle(Handle):
    """An open result."""

    node: Result
    reader: Reader
    opening = Opening(keep_cache=True)

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        self.node.context.keeper.read(self.node.session_id)
        self.node.check_not_replaced()
        data = await self.reader.read(offset, length)
        self.node.check_not_replaced()
        self.node.context.library.bytes_read += len(data)
        return data

    async def flush(self) -> None:
        self.reader.flushed()

    async def release(self) -> None:
        self.reader.close()
        self.node.closed()


class RemoteLink(InSession):
    """A result that is stored elsewhere: says where, and leads nowhere on this machine."""

    __slots__ = ("file",)

    def __init__(self, ino: int, context: Context, session_id: str, file: ResultFile) -> None:
        super().__init__(ino, context, session_id)
        self.file = file

    def attributes(self) -> Attributes:
        stamps = (self.file.max_timestamp, self.file.min_timestamp, self.entry.session.summary.end)
        moment = records.first_moment(self.entry.first_seen, *stamps) / SECOND
        return _link_attributes(self.ino, self.target(), moment, self.context.cache_timeout)

    def xattrs(self) -> Mapping[str, bytes]:
        return _fitting({"user.mime_type": encode(self.file.mime_type) or None})

    def target(self) -> str:
        encoded = percent_encode(location(self.entry.session.summary, self.file))[:LONGEST_TARGET]
        # A cut must not leave half an escape.
        return "remote:" + (encoded[: encoded.rindex("%")] if "%" in encoded[-2:] else encoded)


def _link_attributes(ino: int, target: str, moment: float, cache_timeout: float) -> Attributes:
    mtime_ns = int(moment * SECOND)
    return Attributes(
        ino, stat.S_IFLNK | 0o777, len(target.encode()), mtime_ns=mtime_ns, cache_timeout=cache_timeout
    )


def _fitting(values: Mapping[str, bytes | None]) -> dict[str, bytes]:
    """Without what is unknown, and what the kernel would refuse for its length."""
    return {key: value for key, value in values.items() if value is not None and len(value) <= XATTR_SIZE_MAX}


def _text(value: object) -> bytes | None:
    return None if value is None else str(value).encode()
