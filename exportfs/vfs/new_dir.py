"""`new/`: where a closed request file starts an export.

A file is judged at every close, since nobody can know which close is the last: what is empty, or not yet whole,
waits. What is whole is submitted once; the same request under the same name is never submitted again, whichever way
it gets there (closed twice, written again, saved by an editor through a rename).

Submissions are tasks of the mount, not of the call that wanted them: a caller waits for the outcome no longer than
the timeout, and the outcome is noted all the same.
"""

import logging
import stat
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trio

from exportfs.core.names import percent_encode
from exportfs.errors import (
    Exists,
    ExportfsError,
    InvalidArgument,
    NotFound,
    NotPermitted,
    TimedOut,
)
from exportfs.requests import (
    Completeness,
    Request,
    RequestError,
    completeness,
    fingerprint,
    parse,
    template,
)
from exportfs.sessions.catalogue import Entry
from exportfs.sessions.journal import Record
from exportfs.vfs.inodes import FIRST_IN_NEW, NEW, TEMPLATE
from exportfs.vfs.node import SECOND, Attributes, Directory, Entries, FixedNodes, Handle, Node
from exportfs.vfs.request_file import (
    ERROR_ENDING,
    ErrorText,
    FixedText,
    RequestFile,
    SessionLink,
    is_request,
    stem,
)
from exportfs.vfs.world import World

log = logging.getLogger(__name__)

TEMPLATE_NAME = ".template.json"
WAIT_SHARE = 0.97
"""Part of the timeout that close() waits for the outcome of its submission."""


@dataclass(slots=True)
class Submission:
    """One request under way."""

    done: trio.Event = field(default_factory=trio.Event)
    error: ExportfsError | None = None


class NewDirectory(Directory):
    """The directory, and the judge of what is written into it.

    Code between two awaits is atomic: `_submit` relies on it, from the look at `_done` and `_under_way` to the entry
    in `_under_way`.
    """

    __slots__ = (
        "_done",
        "_errors",
        "_files",
        "_links",
        "_mtime_ns",
        "_next",
        "_template",
        "_under_way",
        "_world",
    )

    def __init__(self, world: World) -> None:
        super().__init__(NEW)
        self._world = world
        self._files: dict[str, RequestFile] = {}
        self._links: dict[str, SessionLink] = {}
        self._errors: dict[str, ErrorText] = {}
        # Of each request name, what its latest successful request was.
        self._done: dict[str, str] = {}
        self._under_way: dict[tuple[str, str], Submission] = {}
        self._next = FIRST_IN_NEW
        self._mtime_ns = int(world.mounted_at * SECOND)
        self._template = FixedText(TEMPLATE, self._template_text, world.mounted_at)
        world.inodes.pin(self._template)
        world.submitter.on_adopted = self._adopted
        for record in world.journal.records:
            if record.session_id is not None and world.catalogue.get(record.session_id):
                self._succeeded(record.name, record.fingerprint, record.session_id)

    @property
    def read_only(self) -> bool:
        return self._world.read_only

    def now(self) -> float:
        return self._world.wall()

    def attributes(self) -> Attributes:
        return Attributes(NEW, stat.S_IFDIR | 0o755, nlink=2, mtime_ns=self._mtime_ns)

    async def lookup(self, name: str) -> Node:
        node = self._find(name)
        if node is None:
            raise NotFound("no such file")
        return node

    async def entries(self) -> Entries:
        self._drop_dead_links()
        named: dict[str, Node] = {**self._links, **self._errors, **self._files}
        return Entries(list(named), FixedNodes(named.values()))

    async def create(self, name: str, mode: int, flags: int) -> tuple[RequestFile, Handle]:
        """A new empty file, open. Raises Exists."""
        if self._find(name) is not None:
            raise Exists("the name is taken")
        file = RequestFile(self._number(), self, name, mode)
        self._files[name] = file
        self._world.inodes.pin(file)
        self._touch()
        return file, await file.open(flags)

    def unlink(self, name: str) -> None:
        """A request file goes with its link and its error; sessions are not touched."""
        if name in self._files:
            file = self._files.pop(name)
            file.name = None
            self._world.inodes.unpin(file)
            self._clear_error(name)
            if is_request(name):
                self._forget(name)
        elif name in self._errors:
            self._clear_error(name.removesuffix(ERROR_ENDING))
        elif name in self._links:
            self._forget(f"{name}.json")
        elif name == TEMPLATE_NAME:
            raise NotPermitted("the template is part of the mount")
        else:
            raise NotFound("no such file")
        self._touch()

    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Renames a file within new/; to a request name that submits it.

        The rename holds also where the submission fails: the file stays, to be corrected.
        """
        file = self._files.get(old)
        if file is None:
            if self._find(old) is None:
                raise NotFound("no such file")
            raise NotPermitted("only files can be renamed")
        taken = self._find(new)
        if taken is file:
            return
        if taken is not None and not replace:
            raise Exists("the name is taken")
        if taken is not None and not isinstance(taken, RequestFile):
            raise NotPermitted("the name is taken by something that is not a file")
        if taken is not None:
            taken.name = None
            self._world.inodes.unpin(taken)
        del self._files[old]
        self._files[new] = file
        file.name = new
        self._clear_error(old)
        self._touch()
        if not is_request(new):
            return
        if is_request(old):
            self._move_history(old, new, file)
        elif file.judged == file.version:
            file.judged = -1  # judged under a name that asks for nothing
        await self.closed(file, last=file.writers == 0)

    async def closed(self, file: RequestFile, *, last: bool) -> None:
        """Judges a file. Raises what is wrong with it, once it can be known."""
        name = file.name
        if name is None or self.read_only:
            return
        if not is_request(name):
            if last:
                self._hint(file, name)
            return
        version = file.version
        if file.judged == version:
            return
        content = bytes(file.content)
        state = completeness(content)
        if state is Completeness.EMPTY or (state is Completeness.INCOMPLETE and not last):
            return
        try:
            request = parse(content, default_agent=self._world.agent)
        except InvalidArgument as error:
            file.judged = version
            self._failed(name, error)
            raise
        await self._submit(file, version, request)

    async def _submit(self, file: RequestFile, version: int, request: Request) -> None:
        """Submits a request, or joins who does it already; waits for the outcome."""
        name = file.name
        assert name is not None
        mark = fingerprint(request.options, any_agent=not request.summary.agent)
        if self._done.get(name) == mark:
            file.judged = version
            self._clear_error(name)
            return
        if file.started is not None and file.started[0] == mark:
            file.judged = version
            self._succeeded(name, mark, file.started[1])
            return
        submission = self._under_way.get((name, mark))
        if submission is None:
            submission = self._under_way[name, mark] = Submission()
            self._world.start_soon(self._carry_out, file, name, mark, request, submission)
        file.judged = version
        with trio.move_on_after(self._world.timeout * WAIT_SHARE):
            await submission.done.wait()
            if submission.error is not None:
                raise submission.error
            return
        error = TimedOut("the server has not answered yet; the outcome will show here")
        self._failed(name, error)
        raise error

    async def _carry_out(
        self, file: RequestFile, name: str, mark: str, request: Request, submission: Submission
    ) -> None:
        try:
            entry = await self._world.submitter.submit(name, request)
        except ExportfsError as error:
            submission.error = error
            self._failed(file.name if file.name and is_request(file.name) else name, error)
        except Exception as error:
            log.exception("submitting %s failed", name)
            submission.error = ExportfsError(f"an unforeseen error: {type(error).__name__}")
            self._failed(name, submission.error)
        else:
            self._world.keeper.watch(entry.id)
            file.started = (mark, entry.id)
            if file.name is None and name not in self._files:
                log.info("the request %s was removed while its session was being started", name)
            else:
                # The file may have been renamed meanwhile; what counts is where the request is now.
                here = file.name if file.name and is_request(file.name) else name
                self._succeeded(here, mark, entry.id)
        finally:
            del self._under_way[name, mark]
            submission.done.set()

    def _adopted(self, record: Record, entry: Entry) -> None:
        """A session turned up whose submission had failed."""
        self._world.keeper.watch(entry.id)
        self._succeeded(record.name, record.fingerprint, entry.id)

    def _succeeded(self, name: str, mark: str, session_id: str) -> None:
        self._done[name] = mark
        self._clear_error(name)
        old = self._links.pop(stem(name), None)
        if old is not None:
            self._world.inodes.unpin(old)
        link = SessionLink(self._number(), session_id, self._directory_name, self.now())
        self._links[stem(name)] = link
        self._world.inodes.pin(link)
        self._touch()

    def _failed(self, name: str, error: ExportfsError) -> None:
        self._clear_error(name)
        if name not in self._files:
            return
        node = ErrorText(self._number(), str(error), self.now())
        self._errors[name + ERROR_ENDING] = node
        self._world.inodes.pin(node)
        self._touch()

    def _hint(self, file: RequestFile, name: str) -> None:
        """A whole request under a name that is never submitted deserves a word."""
        self._clear_error(name)
        if name.startswith(".") or name.endswith(ERROR_ENDING):
            return
        content = bytes(file.content)
        if completeness(content) is not Completeness.COMPLETE:
            return
        try:
            parse(content, default_agent=self._world.agent)
        except (RequestError, InvalidArgument):
            return
        self._failed(
            name,
            InvalidArgument(
                f"this file is not submitted: name it {name}.json (only names that end in .json are)"
            ),
        )

    def _move_history(self, old: str, new: str, file: RequestFile) -> None:
        """A request was renamed: what it started moves along, and its new name starts nothing anew."""
        mark = self._done.pop(old, None)
        link = self._links.pop(stem(old), None)
        if mark is not None and link is not None:
            self._world.inodes.unpin(link)
            self._succeeded(new, mark, link.session_id)
        else:
            file.judged = -1

    def _forget(self, name: str) -> None:
        self._done.pop(name, None)
        link = self._links.pop(stem(name), None)
        if link is not None:
            self._world.inodes.unpin(link)

    def _clear_error(self, name: str) -> None:
        node = self._errors.pop(name + ERROR_ENDING, None)
        if node is not None:
            self._world.inodes.unpin(node)
            self._touch()

    def _drop_dead_links(self) -> None:
        """Sessions that are gone from the server leave no link behind."""
        for name, link in list(self._links.items()):
            if self._world.catalogue.get(link.session_id) is None:
                self._forget(f"{name}.json")

    def _find(self, name: str) -> Node | None:
        if name == TEMPLATE_NAME:
            return self._template
        self._drop_dead_links()
        return self._files.get(name) or self._errors.get(name) or self._links.get(name)

    def _directory_name(self, session_id: str) -> str:
        entry = self._world.catalogue.get(session_id)
        return entry.name if entry is not None else percent_encode(session_id)

    def _template_text(self) -> bytes:
        summaries = [entry.session.summary for entry in self._world.catalogue]
        camera = next((summary.origin for summary in summaries if summary.origin), None)
        text = template(camera=camera, archive=None, now=datetime.fromtimestamp(self.now(), UTC))
        return text.encode()

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _touch(self) -> None:
        self._mtime_ns = int(self.now() * SECOND)
