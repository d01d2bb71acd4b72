"""What a closed file in new/ means, and the requests under way: the awaits and deadlines around the ledger's decisions.

Submissions are tasks of the mount, not of the call that wanted them: a caller waits for the outcome no longer than
the timeout, and the outcome is shown all the same.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import trio

from exportfs.errors import (
    AccessDenied,
    Busy,
    Exists,
    ExportfsError,
    InvalidArgument,
    TimedOut,
    TooLarge,
    Unsupported,
)
from exportfs.metrics import Outcome
from exportfs.record import NOTHING_SENT
from exportfs.requests import Completeness, Request, completeness, fingerprint, parse
from exportfs.requests.names import suggested_name
from exportfs.sessions.ledger import Closing, Submission
from exportfs.vfs.context import Context
from exportfs.vfs.new.file import RequestFile
from exportfs.vfs.new.footage import footage_asked_for
from exportfs.vfs.new.named_cameras import resolved

log = logging.getLogger(__name__)

T = TypeVar("T")

_REFUSALS = (InvalidArgument, AccessDenied, Busy, TooLarge, Unsupported)
"""The server's, once a request was sent."""

WAIT_SHARE = 0.95
"""Part of the time for a submission that close() waits for its outcome; a submission takes a little less, and the
handler's own bound is a little more: on a machine that stands still for a moment they come in this order, too."""
NAMED = 0.5
"""Part of the timeout, from the beginning of a close, by which names must have been looked up."""
LEAST = 0.2
"""And of which so much must be left for a submission."""
IN_THREAD = 64 * 1024
"""Bytes from which a request is read in a thread, so that the mount answers meanwhile."""


class Submissions:
    """Judges files and submits them. Between two awaits everything is consistent: from the look at what is known of
    a request to the entry among those under way there is none."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ledger = context.ledger
        self._ends: dict[Submission, trio.Event] = {}
        """Set when a submission is over."""

    async def closed(self, file: RequestFile, *, last: bool, wait: bool) -> None:
        """A descriptor was closed, the last one or not. Raises what is wrong, once it can be known.

        wait: close() is blocked on the result.
        """
        version, begun = file.version, trio.current_time()
        match self._ledger.closing(file.ino, version, last=last):
            case Closing.WAIT if wait:
                submission = self._ledger.submission(file.ino)
                if submission is not None:
                    await self._outcome(submission, begun + self._context.timeout * WAIT_SHARE)
            case Closing.HINT if last:
                await self._hint(file)
            case Closing.JUDGE:
                try:
                    await self._judge(file, version, begun, last=last, wait=wait)
                except BaseException:  # the handler's own bound as well
                    self._ledger.close_failed(file.ino, version)
                    raise
            case _:
                pass

    async def renamed(self, file: RequestFile, within: float) -> None:
        """A file has got a request's name. Waits for what becomes of it, for no more than so many seconds. Raises its
        error."""
        failures: list[ExportfsError] = []
        judged = trio.Event()
        self._context.start_soon(self._judge_renamed, file, failures, judged)
        with trio.move_on_after(within):
            await judged.wait()
            if failures:
                raise failures[0]  # not that of what it asked for before
            submission = self._ledger.submission(file.ino)
            if submission is not None and not self._ledger.has_started(file.ino):
                await self._end(submission)
                if submission.error is not None:
                    raise submission.error

    async def _judge_renamed(
        self, file: RequestFile, failures: list[ExportfsError], judged: trio.Event
    ) -> None:
        try:
            await self.closed(file, last=file.writers == 0, wait=False)
        except ExportfsError as error:
            failures.append(error)
        except Exception as error:  # from a task of the mount it would end it
            log.exception("judging a file that was renamed failed")
            failures.append(ExportfsError(f"an unexpected error: {type(error).__name__}"))
        finally:
            judged.set()

    async def _judge(self, file: RequestFile, version: int, begun: float, *, last: bool, wait: bool) -> None:
        if file.unwritten is not None:
            self._context.requests.ended(Outcome.INVALID)
            error = type(file.unwritten)(f"{file.unwritten}; {NOTHING_SENT}, since not all was written")
            self._ledger.refused(file.ino, version, error)
            raise error
        content = bytes(file.content)
        state = await _aside(completeness, content)
        if state is Completeness.EMPTY or (state is Completeness.INCOMPLETE and not last):
            return
        try:
            request = await _aside(self._parse, content)
            until = begun + self._context.timeout * NAMED
            request = await resolved(self._context, request, content, until=until)
            now = trio.current_time()
            # Of the time that this close() has, not of its own: nothing is sent once it has failed.
            left = begun + self._context.timeout - now
            wanted = fingerprint(request.options, any_agent=not request.summary.agent)
            if left < self._context.timeout * LEAST:
                said = self._ledger.records.nothing_sent(self._ledger.name(file.ino) or "", wanted)
                raise TimedOut(f"reading the request took too long; {said}; write it again")
        except ExportfsError as error:
            invalid = isinstance(error, InvalidArgument | TooLarge)
            self._context.requests.ended(Outcome.INVALID if invalid else Outcome.FAILED)
            if file.version == version:
                self._ledger.refused(file.ino, version, error)
            raise
        try:
            submission, begins = self._ledger.asks(file.ino, version, wanted, self._context.submitter.has)
        except Exists:
            self._context.requests.ended(Outcome.INVALID)
            raise
        if submission is None:
            if self._ledger.has_started(file.ino):
                self._context.requests.ended(Outcome.REPEATED)
            return
        if begins:
            self._ends[submission] = trio.Event()
            self._context.start_soon(self._carry_out, submission, request, left)
            self._context.start_soon(self._note_footage, submission, request)
        if wait:
            await self._outcome(submission, now + left * WAIT_SHARE)

    async def _end(self, submission: Submission) -> None:
        if not submission.ended:
            await self._ends[submission].wait()

    async def _outcome(self, submission: Submission, deadline: float) -> None:
        """Waits for it, and raises its error."""
        try:
            with trio.move_on_at(deadline):
                await self._end(submission)
        except trio.Cancelled:
            self._ledger.gave_up(submission)
            raise
        if not submission.ended:
            raise self._ledger.gave_up(submission)
        if submission.error is not None:
            raise submission.error

    async def _carry_out(self, submission: Submission, request: Request, within: float) -> None:
        error: ExportfsError | None = None
        try:
            entry = await self._context.submitter.submit(submission, request, within)
            if not submission.names:
                log.info("the request %s was removed while its session was being started", submission.name)
            self._ledger.started(submission, entry.id)
        except ExportfsError as failure:
            error = failure
        except Exception as failure:
            log.exception("submitting %s failed", submission.name)
            error = ExportfsError(f"an unexpected error: {type(failure).__name__}")
        finally:
            self._ledger.ended(submission, error)
            self._ends.pop(submission).set()
        self._context.requests.ended(self._outcome_of(submission))
        if error is not None:
            log.info("the request %s: %s", submission.name, error)
            try:
                self._ledger.tell(submission, error)
            except Exception:  # from a task of the mount it would end it
                log.exception("the error of %s cannot be shown", submission.name)

    def _outcome_of(self, submission: Submission) -> Outcome:
        if submission.error is None:
            return Outcome.STARTED
        if submission.fingerprint in self._ledger.records.unknown():
            return Outcome.UNKNOWN
        return Outcome.REFUSED if isinstance(submission.error, _REFUSALS) else Outcome.FAILED

    async def _note_footage(self, submission: Submission, request: Request) -> None:
        """Beside the export's start, which it neither delays nor refuses."""
        footage = await footage_asked_for(self._context, request)
        await self._end(submission)
        if footage is not None and submission.session_id is not None:
            self._ledger.records.footage_told(submission.session_id, footage)
            self._context.catalogue.changed(submission.session_id)

    def _parse(self, content: bytes) -> Request:
        return parse(content, default_agent=self._context.agent)

    async def _hint(self, file: RequestFile) -> None:
        """A whole request under a name that is never submitted deserves a word."""
        name = self._ledger.name(file.ino)
        if name is None:
            return
        self._ledger.clear_error(name)
        if name.startswith(".") or file.unwritten is not None:
            return
        if suggested_name(name) in self._ledger.names:
            return  # an editor's backup of it
        content, version = bytes(file.content), file.version
        if await _aside(completeness, content) is not Completeness.COMPLETE:
            return
        try:
            await _aside(self._parse, content)
        except (InvalidArgument, TooLarge):
            return
        if self._ledger.name(file.ino) == name and file.version == version:
            text = f"this file is not submitted, only names that end in .json are: name it {suggested_name(name)}"
            self._ledger.failed(name, InvalidArgument(text))


async def _aside(function: Callable[[bytes], T], content: bytes) -> T:
    """Big contents are read in a thread; small ones at once, without an await in between."""
    if len(content) < IN_THREAD:
        return function(content)
    return await trio.to_thread.run_sync(function, content)
