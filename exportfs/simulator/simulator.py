"""A simulated export server without its network: state, clock, faults and record."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import grpc

from exportfs.simulator import timestamps
from exportfs.simulator.api.accounts import Accounts
from exportfs.simulator.api.calls import CallLog
from exportfs.simulator.api.service import Service
from exportfs.simulator.clock import Clock, SystemClock
from exportfs.simulator.config import Config
from exportfs.simulator.exports.results import StoredFile, stored
from exportfs.simulator.exports.sessions import Sessions
from exportfs.simulator.faults.script import Faults
from exportfs.simulator.media.content import Computed, Content
from exportfs.wire import export

_FIRST_FOOTAGE = 1_778_486_400.0
"""2026-05-11 08:00 UTC: where the footage of added sessions begins, a minute for each."""


class Simulator:
    """The server's state, which outlives restarts of a `SimulatorServer`. Safe to use from any thread."""

    def __init__(self, config: Config | None = None, clock: Clock | None = None) -> None:
        """The defaults: a server with the account demo/demo, three cameras and the system's clock."""
        self.config = config or Config()
        self.clock = clock or SystemClock()
        self.log = CallLog()
        self.faults = Faults(self.log)
        self.accounts = Accounts(self.config.login, self.clock)
        self.sessions = Sessions(self.config, self.clock)
        self._added = 0

    def handlers(self) -> tuple[grpc.GenericRpcHandler, ...]:
        return Service(
            self.config, self.clock, self.accounts, self.sessions, self.faults, self.log
        ).handlers()

    def options(self) -> export.Options:
        """Options of an archive stream to MP4, another minute of footage each time."""
        start = _FIRST_FOOTAGE + 60 * self._added
        self._added += 1
        return export.Options(
            archive=export.ArchiveMode(
                sources=[export.ArchiveMode.Source(origin=self.config.cameras[0])],
                start_timestamp=timestamps.text(start),
                end_timestamp=timestamps.text(start + 60),
            ),
            stream=export.StreamType(format=export.StreamType.EFormat.MP4),
        )

    def add_computed(
        self,
        *sizes: int,
        names: Sequence[str] | None = None,
        seed: str | int | None = None,
        announced: Sequence[int] | None = None,
        mime_type: str = "video/mp4",
        options: export.Options | None = None,
        session_id: str | None = None,
        succeeded: bool = True,
        expires: bool = True,
    ) -> str:
        """Adds a completed session with a computed file of each of `sizes` bytes. Gives the session's id.

        File number n holds `content(f"{seed}/{n}", ...)`; None: a seed of this session's own. `names` are the
        file ids, `announced` the sizes that the server claims. `expires=False`: the hour never ends.
        """
        options = options or self.options()
        seed = f"added-{self._added}" if seed is None else seed
        names = names or [f"computed_{self._added}_{number + 1}.mp4" for number in range(len(sizes))]
        first = _FIRST_FOOTAGE
        if options.HasField("archive") and options.archive.start_timestamp:
            first = timestamps.parse(options.archive.start_timestamp)
        files = [
            stored(
                names[number],
                Computed(f"{seed}/{number}", size),
                size=announced[number] if announced is not None else None,
                mime_type=mime_type,
                first=first,
                last=first + 60,
            )
            for number, size in enumerate(sizes)
        ]
        return self.sessions.add(options, files, session_id=session_id, succeeded=succeeded, expires=expires)

    def add_many(self, count: int, size: int = 1 << 20) -> list[str]:
        """Adds `count` sessions with one computed file of `size` bytes each, which never expire."""
        return [self.add_computed(size, expires=False) for _ in range(count)]

    def files(self, session_id: str) -> list[StoredFile]:
        """The results as they are now; resets no timer. Raises Refused with NOT_FOUND."""
        return list(self.sessions.find(session_id).files)

    def content(self, session_id: str, file_id: str, offset: int = 0, length: int | None = None) -> bytes:
        """What a result truly holds, for comparison; counts as no call. Raises KeyError for no such file."""
        file = self.sessions.find(session_id).file(file_id)
        if file is None:
            raise KeyError(file_id)
        return file.content.read(offset, file.content.size - offset if length is None else length)

    def digest(self, session_id: str, file_id: str) -> tuple[int, str]:
        """Size and SHA-256 of what a result truly holds, in bounded memory. Raises KeyError."""
        file = self.sessions.find(session_id).file(file_id)
        if file is None:
            raise KeyError(file_id)
        digest, offset = hashlib.sha256(), 0
        while data := file.content.read(offset, 1 << 20):
            digest.update(data)
            offset += len(data)
        return offset, digest.hexdigest()

    def replace_content(
        self, session_id: str, file_id: str, content: Content, *, announce: bool = False
    ) -> None:
        """From now on the file holds something else. Its announced size stays, unless `announce`."""
        session = self.sessions.find(session_id)
        file = session.file(file_id)
        if file is None:
            raise KeyError(file_id)
        file.content = content
        if announce:
            file.message.size = content.size
            session.changed()

    def resize(self, session_id: str, file_id: str, size: int, *, announce: bool = False) -> None:
        """A computed file becomes shorter or longer, with the same bytes at the same offsets."""
        file = self.sessions.find(session_id).file(file_id)
        if file is None or not isinstance(file.content, Computed):
            raise KeyError(f"no computed file {file_id!r}")
        self.replace_content(session_id, file_id, replace(file.content, size=size), announce=announce)

    def record(self, camera: str, *intervals: tuple[float, float]) -> None:
        """From now on archives hold these intervals of the camera and nothing else: begins and ends in seconds since
        the epoch. Exports hold what was recorded."""
        self.sessions.record(camera, intervals)

    def set_times(self, session_id: str, file_id: str, first: str, last: str) -> None:
        """What the server says of a result's first and last footage: any text. Raises KeyError."""
        session = self.sessions.find(session_id)
        file = session.file(file_id)
        if file is None:
            raise KeyError(file_id)
        file.message.min_timestamp, file.message.max_timestamp = first, last
        session.changed()

    def close(self) -> None:
        """Ends the thread that makes pictures."""
        self.sessions.close()
