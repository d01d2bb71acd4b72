"""What a closed file in new/ means, and the requests under way. docs/design/new.md has the whole of it.

Submissions are tasks of the mount, not of the call that wanted them: a caller waits for the outcome no longer than
the timeout, and the outcome is shown all the same.
"""

import logging
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

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
from exportfs.requests import Completeness, Request, completeness, fingerprint, parse
from exportfs.vfs.context import Context
from exportfs.vfs.new.file import RequestFile, is_request, suggested_name
from exportfs.vfs.new.footage import footage_asked_for
from exportfs.vfs.new.named_cameras import resolved

log = logging.getLogger(__name__)

T = TypeVar("T")

_REFUSALS = (InvalidArgument, AccessDenied, Busy, TooLarge, Unsupported)
"""The server's, once a request was sent."""

WAIT_SHARE = 0.97
"""Part of the timeout that close() waits for the outcome of its submission; a submission takes a little less."""
IN_THREAD = 64 * 1024
"""Bytes from which a request is read in a thread, so that the mount answers meanwhile."""


@dataclass(eq=False, slots=True)
class Submission:
    """One request under way, under one name or, after renames, several or none."""

    mark: str
    """Fingerprint."""
    names: list[str]
    last_name: str
    files: list[RequestFile] = field(default_factory=list)
    """Those that asked for it, under whatever name they are now."""
    done: trio.Event = field(default_factory=trio.Event)
    error: ExportfsError | None = None
    session_id: str | None = None
    """Of the session that it started."""

    @property
    def name(self) -> str:
        return self.names[0] if self.names else self.last_name


class Shown(Protocol):
    """The directory, which shows outcomes."""

    def succeeded(self, name: str, session_id: str) -> None:
        """Links the session, clears the error."""

    def failed(self, name: str, error: ExportfsError) -> None:
        """Shows the error, if the file is still there."""

    def clear_error(self, name: str) -> None: ...

    def file(self, name: str) -> RequestFile | None: ...

    def linkable(self, name: str) -> bool:
        """Whether the link's place is free."""


class Submissions:
    """Judges files and submits them. Between two awaits everything is consistent: from the look at what is known of
    a request to the entry in `_under_way` there is none."""

    def __init__(self, context: Context, shown: Shown) -> None:
        self._context = context
        self._shown = shown
        self._under_way: dict[tuple[str, str], Submission] = {}

    async def closed(self, file: RequestFile, *, last: bool, heard: bool) -> None:
        """A descriptor was closed, the last one or not. Raises what is wrong, once it can be known.

        heard: somebody hears of the outcome, so it is waited for.
        """
        name, version = file.name, file.version
        if name is None:
            return
        if file.judged == version:
            under_way = file.submission
            if heard and under_way is not None and not under_way.done.is_set():
                await self._outcome(under_way, self._deadline())
            return
        if not is_request(name):
            if last:
                await self._hint(file, name)
            return
        content = bytes(file.content)
        state = await _aside(completeness, content)
        if state is Completeness.EMPTY or (state is Completeness.INCOMPLETE and not last):
            return
        try:
            request = await _aside(self._parse, content)
            deadline = self._deadline()
            request = await resolved(self._context, request, content)
        except ExportfsError as error:
            invalid = isinstance(error, InvalidArgument | TooLarge)
            self._context.requests.ended(Outcome.INVALID if invalid else Outcome.FAILED)
            if file.version == version and file.name is not None and is_request(file.name):
                if invalid:
                    file.judged = version
                    file.asked = None
                self._shown.failed(file.name, error)
            raise
        await self._submit(file, version, request, deadline if heard else None)

    def unknown(self) -> set[str]:
        """Fingerprints of requests of which it is unknown what came of them."""
        return {record.fingerprint for record in self._context.journal.unresolved()}

    def done_with(self, file: RequestFile, unknown: Container[str | None]) -> bool:
        """Whether a file has the session that it asks for as it is now, and nothing is under way for it."""
        started = file.started is not None and file.started[0] == file.asked
        return started and file.judged == file.version and not self.pending(file, unknown)

    def pending(self, file: RequestFile, unknown: Container[str | None]) -> bool:
        """Whether it is open what becomes of a file's request: its answer is waited for, or was lost."""
        if file.submission is not None and not file.submission.done.is_set():
            return True
        return file.asked in unknown

    async def outcome(self, file: RequestFile, within: float) -> None:
        """Waits for what becomes of a file, for no more than so many seconds. Raises its error."""
        submission = file.submission
        if submission is None or submission.mark != file.asked or file.started is not None:
            return
        with trio.move_on_after(within):
            await submission.done.wait()
        if submission.error is not None:
            raise submission.error

    def renamed(self, old: str, new: str) -> None:
        """A request was renamed to another request's name: what it asked for and started moves along."""
        self._context.journal.rename(old, new)
        for (name, mark), submission in list(self._under_way.items()):
            if name != old:
                continue
            del self._under_way[name, mark]
            self._under_way.setdefault((new, mark), submission)
            # Once each: it may have had both names.
            submission.names = list(dict.fromkeys(new if each == old else each for each in submission.names))

    def removed(self, name: str) -> None:
        """A request was unlinked: what it started stays, and is no longer linked."""
        self._context.journal.forget(name)
        for submission in self._under_way.values():
            if name in submission.names:
                submission.names.remove(name)
                submission.last_name = name

    async def _submit(
        self, file: RequestFile, version: int, request: Request, deadline: float | None
    ) -> None:
        """Submits a request, or joins who does it already; its outcome is waited for where there is a deadline."""
        name = file.name
        if name is None or not is_request(name):
            return  # while it was read it was removed, or renamed
        mark = fingerprint(request.options, any_agent=not request.summary.agent)
        # While this one was read in a thread, a later close may have been judged.
        if version >= file.judged:
            file.judged, file.asked = version, mark
        if not self._shown.linkable(name):
            error = Exists(f"nothing was sent: the link to the session would replace the file {name[:-5]}")
            self._context.requests.ended(Outcome.INVALID)
            self._shown.failed(name, error)
            raise error
        submission = self._own(file, mark)
        if submission is None and self._started_already(file, name, mark):
            return  # also where another file of this name waits for its answer
        submission = submission or self._under_way.get((name, mark))
        if submission is None:
            submission = Submission(mark, [], name)
            self._context.start_soon(self._carry_out, submission, request)
            self._context.start_soon(self._note_footage, submission, request)
        self._under_way[name, mark] = submission
        if name not in submission.names:
            submission.names.append(name)
        submission.files.append(file)
        file.submission = submission
        if deadline is not None:
            await self._outcome(submission, deadline)

    def _deadline(self) -> float:
        """Until when a close() that begins to wait now waits for the outcome."""
        return trio.current_time() + self._context.timeout * WAIT_SHARE

    def _own(self, file: RequestFile, mark: str) -> Submission | None:
        """The file's own submission, while it is under way."""
        own = file.submission
        return own if own is not None and own.mark == mark and not own.done.is_set() else None

    def _started_already(self, file: RequestFile, name: str, mark: str) -> bool:
        """Whether this very file, or one of its name, has started it, and the session is there."""
        journal, catalogue = self._context.journal, self._context.catalogue
        started = file.started[1] if file.started is not None and file.started[0] == mark else None
        if started is not None:
            # Also where a listing misses it: then the submission asks for it under this name.
            journal.given(started, name)
        for record in journal.asked(name, mark):
            if started is None and record.session_id is not None and catalogue.get(record.session_id):
                started = record.session_id
                journal.answered(record, name)
        if started is None or catalogue.get(started) is None:
            return False
        file.started = (mark, started)
        self._context.requests.ended(Outcome.REPEATED)
        self._shown.succeeded(name, started)
        return True

    async def _outcome(self, submission: Submission, deadline: float) -> None:
        """Waits for it, and raises its error."""
        with trio.move_on_at(deadline):
            await submission.done.wait()
            if submission.error is not None:
                raise submission.error
            return
        error = TimedOut("the server has not answered yet; the outcome will show here")
        for name in submission.names:
            self._show_failure(name, submission.mark, error)
        raise error

    async def _carry_out(self, submission: Submission, request: Request) -> None:
        mark = submission.mark
        try:
            entry = await self._context.submitter.submit(submission, request)
            self._started(submission, entry.id)
        except ExportfsError as error:
            submission.error = error
        except Exception as error:
            log.exception("submitting %s failed", submission.name)
            submission.error = ExportfsError(f"an unexpected error: {type(error).__name__}")
        finally:
            for key in [key for key, value in self._under_way.items() if value is submission]:
                del self._under_way[key]
            submission.done.set()
        self._context.requests.ended(self._ended(submission))
        if submission.error is not None:
            try:
                for name in submission.names:
                    self._show_failure(name, mark, submission.error)
            except Exception:  # from a task of the mount it would end it
                log.exception("the error of %s cannot be shown", submission.name)

    def _ended(self, submission: Submission) -> Outcome:
        if submission.error is None:
            return Outcome.STARTED
        if submission.mark in self.unknown():
            return Outcome.UNKNOWN
        return Outcome.REFUSED if isinstance(submission.error, _REFUSALS) else Outcome.FAILED

    async def _note_footage(self, submission: Submission, request: Request) -> None:
        """Beside the export's start, which it neither delays nor refuses."""
        footage = await footage_asked_for(self._context, request)
        await submission.done.wait()
        if footage is not None and submission.session_id is not None:
            self._context.journal.footage_told(submission.session_id, footage)
            self._context.catalogue.changed(submission.session_id)

    def _started(self, submission: Submission, session_id: str) -> None:
        submission.session_id = session_id
        self._context.keeper.watch(session_id)
        if not submission.names:
            log.info("the request %s was removed while its session was being started", submission.name)
            self._context.journal.forget_session(session_id, submission.last_name)
        for file in submission.files:
            if file.asked == submission.mark:
                file.started = (submission.mark, session_id)
        for name in submission.names:
            self._context.journal.given(session_id, name)
            self.show_success(name, submission.mark, session_id)

    def show_success(self, name: str, mark: str, session_id: str) -> None:
        """Unless the file has come to ask for something else since."""
        file = self._shown.file(name)
        if file is not None and file.asked == mark:
            file.started = (mark, session_id)
        if file is None or file.asked in (None, mark):
            self._shown.succeeded(name, session_id)

    def _show_failure(self, name: str, mark: str, error: ExportfsError) -> None:
        file = self._shown.file(name)
        has_its_session = file is not None and file.started is not None and file.started[0] == mark
        if file is not None and file.asked == mark and not has_its_session:
            self._shown.failed(name, error)

    def given_up(self, name: str, mark: str) -> None:
        """It is certain that a request whose outcome was unknown started nothing."""
        self._context.requests.ended(Outcome.ABANDONED)
        message = "the server did not start this export; write the request again to ask for it again"
        self._show_failure(name, mark, ExportfsError(message))

    def _parse(self, content: bytes) -> Request:
        return parse(content, default_agent=self._context.agent)

    async def _hint(self, file: RequestFile, name: str) -> None:
        """A whole request under a name that is never submitted deserves a word."""
        self._shown.clear_error(name)
        if name.startswith("."):
            return
        content, version = bytes(file.content), file.version
        if await _aside(completeness, content) is not Completeness.COMPLETE:
            return
        try:
            await _aside(self._parse, content)
        except (InvalidArgument, TooLarge):
            return
        if file.name == name and file.version == version:
            text = f"this file is not submitted, only names that end in .json are: name it {suggested_name(name)}"
            self._shown.failed(name, InvalidArgument(text))


async def _aside(function: Callable[[bytes], T], content: bytes) -> T:
    """Big contents are read in a thread; small ones at once, without an await in between."""
    if len(content) < IN_THREAD:
        return function(content)
    return await trio.to_thread.run_sync(function, content)
