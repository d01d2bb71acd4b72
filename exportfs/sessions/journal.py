"""The ledger's records on disk: what this user started on a server. So a mount that was killed between asking for an
export and hearing of it does not ask again, and sessions started here are still asked about after a restart.

The disk may hang: a home directory on NFS whose server has gone. So the file is touched in a thread only, one thing
after another, and nobody waits for it longer than they say. While it hangs nothing is sent that would have to be
recorded first, everything else goes on, and what became of requests is written once it answers again.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

import trio

from exportfs.errors import ExportfsError, TimedOut
from exportfs.sessions.journal_file import JournalFile, MayBeWritten
from exportfs.sessions.ledger import Change, Drop, Put, Record

log = logging.getLogger(__name__)

HANGS_AFTER = 1.0
"""Seconds after which nobody waits for the file who need not: it takes milliseconds."""


class Aside(Protocol):
    """Runs `work` where it may take as long as it takes, and then `after` in the thread that asked."""

    def __call__(self, work: Callable[[], None], after: Callable[[], None]) -> None: ...


def in_a_thread(work: Callable[[], None], after: Callable[[], None]) -> None:
    """Of its own, which may hang when the process ends. Raises RuntimeError where none can be started."""
    token = trio.lowlevel.current_trio_token()

    def both() -> None:
        work()
        try:
            token.run_sync_soon(after)
        except trio.RunFinishedError:
            log.debug("the journal was written after the mount had ended")

    threading.Thread(target=both, name="journal", daemon=True).start()


def at_once(work: Callable[[], None], after: Callable[[], None]) -> None:
    """Here and now: where there is no event loop."""
    work()
    after()


class _Job:
    """Something to be done with the file."""

    def __init__(self, read: Callable[[], list[Record]] | None = None, record: Record | None = None) -> None:
        """`read`: what to read. Otherwise it writes all that is unwritten by then, and `record` behind that."""
        self.read = read
        self.record = record
        self.over = trio.Event()
        self.done = False
        self.withdrawn = False
        """Whether nobody wants it any more."""
        self.found: list[Record] = []
        """What was read; of a record what other mounts have asked for, in whose place it was not written."""
        self.error: ExportfsError | None = None


class Journal:
    """The file of one server and user, for one mount."""

    def __init__(
        self,
        file: JournalFile,
        *,
        read_only: bool = False,
        aside: Aside = in_a_thread,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`read_only`: nothing is started and nothing written, and it may as well not be there."""
        self._file = file
        self._aside = aside
        self._clock = clock
        self._read_only = read_only
        self._queue: deque[_Job] = deque()
        self._job: _Job | None = None
        """What the thread is at."""
        self._since = 0.0
        """Since when."""
        self._unwritten: list[Change] = []
        """Changes that are not written yet, the oldest first."""
        self._trouble = ""
        """Why not, as said in the log."""
        self.write_failures = 0
        """For counting."""

    @property
    def unwritten(self) -> int:
        """Changes that are not written yet."""
        return len(self._unwritten)

    @property
    def hangs(self) -> bool:
        """Whether the file has not answered for a while."""
        return self._job is not None and self._clock() - self._since > HANGS_AFTER

    async def load(self, within: float) -> list[Record]:
        """What the file holds, the oldest first. Raises ExportfsError where it cannot be used."""
        job = self._add(_Job(self._file.peek if self._read_only else self._file.load))
        await self._wait(job, within)
        error = self._silence() if job.withdrawn else job.error
        if error is None:
            return job.found
        if not self._read_only:
            raise error
        log.warning("%s; which sessions were started here is not known", error)
        return []

    async def settled(self, within: float = HANGS_AFTER) -> list[Record] | None:
        """The records whose session is known, as the file has them now: other mounts of this server write there, too.
        None where it cannot be read at the moment."""
        if self.hangs:
            return None
        job = self._add(_Job(self._file.peek if self._read_only else self._file.read))
        await self._wait(job, within)
        error = self._silence() if job.withdrawn else job.error
        if error is not None:
            log.info("%s", error)
            return None
        return [record for record in job.found if record.session_id is not None]

    async def unheard(self, fingerprint: str, within: float = HANGS_AFTER) -> list[Record] | None:
        """What other mounts have asked for, of this fingerprint, and nobody has heard what became of it. None where
        that cannot be known at the moment."""
        job = self._add(_Job(partial(self._file.unheard, fingerprint)))
        await self._wait(job, within)
        return job.found if job.done and not job.withdrawn else None

    async def put(self, record: Record, within: float) -> list[Record]:
        """Writes a record, and returns when it is on disk; unless there is anything `unheard`, which is returned then.

        Raises ExportfsError where that fails, or takes longer: a record that is written later all the same is taken
        back, since nothing follows it.
        """
        job = self._add(_Job(record=record))
        try:
            await self._wait(job, within)
        except BaseException:
            if job.done and not job.withdrawn:
                self.change(Drop(record.key))
            raise
        if job.withdrawn:
            self.write_failures += 1
            raise self._silence()
        if job.error is not None:
            raise job.error
        return job.found

    def change(self, change: Change) -> None:
        """Writes a change, later where it cannot be now. Raises nothing: what it tells of has happened."""
        if self._read_only:
            return
        self._unwritten.append(change)
        if not isinstance(change, Put) or change.soon:
            self.catch_up()

    def catch_up(self) -> None:
        """Writes what could not be written so far, if it can be now."""
        # What waits for its turn takes it along.
        if self._unwritten and all(job.read is not None for job in self._queue):
            self._add(_Job())

    async def close(self) -> None:
        """Waits for what can be written soon. Should somebody have taken the file away, it is there again for the next
        mount, which would start the same requests once more."""
        self.catch_up()
        if not self._read_only:
            await self.settled()
        await self.written()

    async def written(self, within: float = HANGS_AFTER) -> None:
        """Waits until what has changed is on disk, or cannot be written at the moment."""
        jobs = [job for job in (self._job, *self._queue) if job is not None and job.read is None]
        if self._unwritten and jobs and not self.hangs:
            with trio.move_on_after(within):
                await jobs[-1].over.wait()

    async def _wait(self, job: _Job, within: float) -> None:
        """Until it is over, or is withdrawn."""
        try:
            with trio.move_on_after(within):
                await job.over.wait()
        finally:
            # Not `done`, which a thread may have set this very moment: what counts is whether it was accounted for.
            if not job.over.is_set():
                job.withdrawn = True
                if job in self._queue:
                    self._queue.remove(job)

    def _add(self, job: _Job) -> _Job:
        self._queue.append(job)
        self._next()
        return job

    def _next(self) -> None:
        while self._job is None and self._queue:
            self._begin(self._queue.popleft())

    def _begin(self, job: _Job) -> None:
        self._job, self._since = job, self._clock()
        known = len(self._unwritten)
        changes = list(self._unwritten)

        def work() -> None:
            try:
                if job.read is not None:
                    job.found = job.read()
                else:
                    job.found = self._file.append(changes, job.record)
                job.done = True
            except ExportfsError as error:
                job.error = error
            except Exception as error:
                log.exception("the journal failed")
                job.error = MayBeWritten(f"the journal failed: {type(error).__name__}: {error}")

        after = partial(self._over, job, 0 if job.read is not None else known)
        try:
            self._aside(work, after)
        except RuntimeError as error:
            job.error = ExportfsError(f"cannot write the journal {self._file.path}: {error}")
            after()

    def _over(self, job: _Job, known: int) -> None:
        """A job has ended, which covered so many of the changes."""
        self._job = None
        if job.done:
            del self._unwritten[:known]
        if job.read is None:
            self._account(job)
        job.over.set()
        self._next()

    def _account(self, job: _Job) -> None:
        if job.error is not None:
            self.write_failures += 1
            if job.record is None and str(job.error) != self._trouble:
                self._trouble = str(job.error)
                log.warning("%s", job.error)
        else:
            self._trouble = ""
        may_be_there = (job.done and job.withdrawn) or isinstance(job.error, MayBeWritten)
        if job.record is not None and may_be_there:
            # Nothing was sent: without this it would be watched for, and stand in the way of the same request.
            self.change(Drop(job.record.key))

    def _silence(self) -> TimedOut:
        return TimedOut(f"the journal {self._file.path} does not answer: its file system hangs")
