"""What belongs to one session and is ours: the two records, and `.control`."""

import hashlib
import os
import stat

import trio

from exportfs.errors import ExportfsError, Gone, InvalidArgument, NotPermitted, ReadOnly, TimedOut
from exportfs.sessions.catalogue import Entry
from exportfs.vfs.context import Context
from exportfs.vfs.node import SECOND, Changes, Handle, Node, Opening, Snapshot, Text
from exportfs.vfs.sessions import records

VERBS = ("stop", "destroy")
WRITE_ONE = f"write one of these words, and nothing else: {', '.join(VERBS)}"
MOST_WRITTEN = 64
"""Bytes."""
PROGRESS_EVERY = 1.0
"""Seconds; more often a record does not become another by progress alone."""


class InSession(Node):
    """A node that belongs to a session and goes with it."""

    __slots__ = ("context", "session_id")

    def __init__(self, ino: int, context: Context, session_id: str) -> None:
        super().__init__(ino)
        self.context = context
        self.session_id = session_id

    @property
    def entry(self) -> Entry:
        """What is known of the session. Raises Gone."""
        entry = self.context.catalogue.get(self.session_id)
        if entry is None:
            raise Gone("the session is gone from the server")
        return entry


class SessionRecord(InSession, Text):
    """`.session.json`"""

    def __init__(self, ino: int, context: Context, session_id: str) -> None:
        Text.__init__(self, ino)
        self.context = context
        self.session_id = session_id
        self._version: object = None
        self._cached = Snapshot(b"", 0)
        self._changed = float("-inf")
        """When it last became another, by trio's clock."""
        self._held: object = None
        """The version that differs from what is shown in nothing but progress, and comes later."""

    def snapshot(self) -> Snapshot:
        entry = self.entry
        # What changes by time alone no version tells.
        version = (
            entry.version,
            *records.keeping(self.context, entry),
            records.labels(self.context, entry.session),
        )
        if version == self._version:
            return self._cached
        # Each change moves its time on by a second: with more of them than seconds it would be in the future.
        now = trio.current_time()
        early = now < self._changed + PROGRESS_EVERY
        if early and version == self._held:
            return self._cached
        text = records.session_record(self.context, entry)
        if early and records.but_for_progress(text) == records.but_for_progress(self._cached.data):
            self._held = version
            return self._cached
        if text != self._cached.data:
            self._changed = now
        self._cached = Snapshot(text, self._mtime_ns(entry, text))
        self._version = version
        return self._cached

    def _mtime_ns(self, entry: Entry, text: bytes) -> int:
        """Another text has another time, in whole seconds: programs that compare no more than size and time (rsync)
        must not take it for the old one. It never goes back, for those that copy what is newer (`cp -u`)."""
        digest = hashlib.blake2b(text, digest_size=16).digest()
        known = entry.record_stamp
        if known is not None and known[0] == digest:
            return known[1]
        if known is not None:
            mtime_ns = max(int(self.context.wall() * SECOND), known[1] + SECOND)
        elif entry.completed:
            mtime_ns = records.footage_end(entry.session, entry.first_seen)
        else:
            mtime_ns = int(entry.changed * SECOND)
        entry.record_stamp = (digest, mtime_ns)
        return mtime_ns


class RequestRecord(InSession, Text):
    """`.request.json`"""

    def __init__(self, ino: int, context: Context, session_id: str) -> None:
        Text.__init__(self, ino)
        self.context = context
        self.session_id = session_id
        self._cached: tuple[bytes, Snapshot] | None = None

    def snapshot(self) -> Snapshot:
        entry = self.entry
        options = entry.session.options
        if self._cached is None or self._cached[0] is not options:
            moment = records.first_moment(
                entry.first_seen, entry.session.summary.end, entry.session.summary.start
            )
            self._cached = (options, Snapshot(records.request_record(entry), moment))
        return self._cached[1]


class Control(InSession, Text):
    """`.control`: reading it lists the verbs, writing one does it."""

    mode = stat.S_IFREG | 0o644

    def __init__(self, ino: int, context: Context, session_id: str) -> None:
        Text.__init__(self, ino)
        self.context = context
        self.session_id = session_id

    def snapshot(self) -> Snapshot:
        text = "".join(f"{verb}\n" for verb in VERBS).encode()
        return Snapshot(text, int(self.entry.first_seen * SECOND))

    async def change(self, changes: Changes) -> None:
        """A shell's `>` truncates, which means nothing here; everything else is refused."""
        if changes.mode is not None or changes.uid is not None or changes.gid is not None:
            raise NotPermitted("its attributes cannot be changed")

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE == os.O_RDONLY:
            return await Text.open(self, flags)
        if self.context.read_only:
            raise ReadOnly("mounted read-only")
        return ControlHandle(self)


class ControlHandle(Handle):
    """An open `.control`. A verb is done as soon as its line is complete, so that a shell's `echo` hears of errors.

    One opening takes one verb and nothing beside it: a text that is copied here line by line is not a list of orders,
    also if one of its lines is a verb (as in what is read from a `.control`).
    """

    opening = Opening(direct_io=True)

    def __init__(self, node: Control) -> None:
        self._node = node
        self._line = b""
        self._over: ExportfsError | None = None
        """What every further write is answered with: the failure of the one before, for programs that write once more
        what could not be written (as Python's close does)."""

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        return self._node.snapshot().data[offset : offset + length]

    async def write(self, offset: int, data: bytes) -> int:
        if self._over is not None:
            raise self._over
        self._line += data
        if len(self._line) > MOST_WRITTEN:
            self._line, self._over = b"", InvalidArgument(WRITE_ONE)
            raise self._over
        if self._line.endswith(b"\n"):
            await self._do()
        return len(data)

    async def flush(self) -> None:
        await self._do()

    async def _do(self) -> None:
        line, self._line = self._line, b""
        if not line:
            return
        self._over = InvalidArgument(WRITE_ONE)
        verb = line.rstrip(b" \t\r\n")  # an `echo` of Windows writes a space and two ends
        if verb not in (b"stop", b"destroy"):
            raise self._over
        actions, session_id = self._node.context.actions, self._node.entry.id
        self._over = TimedOut(
            f"whether the server did it is unknown; to {verb.decode()} it, open .control again"
        )
        try:
            await (actions.stop if verb == b"stop" else actions.destroy)(session_id)
            await self._node.context.journal.written()
        except ExportfsError as error:
            self._over = error
            raise
        self._over = InvalidArgument(WRITE_ONE)
