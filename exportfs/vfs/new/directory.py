"""`new/`: where a closed request file starts an export. What closing means: see `submissions`."""

import logging
import stat
from collections.abc import Container, Iterator
from dataclasses import asdict, replace

from exportfs.errors import Exists, ExportfsError, IsADirectory, NoSpace, NotFound, NotPermitted, ReadOnly
from exportfs.metrics import Outcome
from exportfs.naming import percent_encode
from exportfs.sessions.catalogue import Entry
from exportfs.sessions.journal import Record
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import FIRST_IN_NEW, NEW
from exportfs.vfs.new.file import (
    ERROR_ENDING,
    REQUEST_ENDING,
    ErrorText,
    RequestFile,
    SessionLink,
    error_name,
    is_request,
    stem,
)
from exportfs.vfs.new.submissions import Submissions
from exportfs.vfs.new.template import TemplateFile
from exportfs.vfs.node import SECOND, Attributes, Changes, Directory, Entries, FixedNodes, Handle, Node

log = logging.getLogger(__name__)

TEMPLATE_NAME = ".template.json"
MOST_BYTES = 64 * 1024 * 1024
"""Contents of all files together: they live in memory, and a request has a few hundred bytes."""
MOST_FILES = 10_000
"""Beyond these, in number or bytes, finished requests go, the oldest first."""
RENAME_WAITS = 1.0
"""Seconds that a rename waits for what becomes of the request: meanwhile the kernel keeps all of new/ locked."""


class NewDirectory(Directory):
    """The directory: names, and what stands for them."""

    __slots__ = (
        "_bytes",
        "_changed",
        "_context",
        "_errors",
        "_files",
        "_links",
        "_mtime_ns",
        "_next",
        "_submissions",
        "_template",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(NEW)
        self._context = context
        self._files: dict[str, RequestFile] = {}
        self._links: dict[str, SessionLink] = {}
        # By the name of the file that they are about.
        self._errors: dict[str, ErrorText] = {}
        self._bytes = 0
        self._changed = Changes()
        self._next = FIRST_IN_NEW
        self._mtime_ns = int(context.mounted_at * SECOND)
        self._template = TemplateFile(context)
        context.inodes.pin(self._template)
        self._submissions = Submissions(context, self)
        context.submitter.on_adopted = self._adopted
        context.submitter.on_given_up = lambda record: self._submissions.given_up(
            record.name, record.fingerprint
        )
        for record in context.journal.records:
            gone = record.forgotten or record.destroyed
            if record.session_id and not gone and context.catalogue.get(record.session_id):
                self.succeeded(record.name, record.session_id)

    @property
    def read_only(self) -> bool:
        return self._context.read_only

    def now(self) -> float:
        return self._context.wall()

    def attributes(self) -> Attributes:
        changed = self._changed
        given = self._context.owner.new_mode if changed.mode is None else changed.mode
        return Attributes(
            NEW,
            stat.S_IFDIR | (0o755 if given is None else given & 0o7777),
            nlink=2,
            mtime_ns=self._mtime_ns,
            uid=changed.uid,
            gid=changed.gid,
            own_mode=given is not None,
        )

    async def change(self, changes: Changes) -> None:
        """Taken over, for `cp -a FOLDER/. new/`; lost with the mount."""
        if self.read_only:
            raise ReadOnly("mounted read-only")
        if changes.size is not None:
            raise IsADirectory("a directory")
        given = {key: value for key, value in asdict(changes).items() if value is not None}
        self._changed = replace(self._changed, **given)
        if changes.mtime_ns is not None:
            self._mtime_ns = changes.mtime_ns

    async def lookup(self, name: str) -> Node:
        self._context.catalogue.look()  # its links lead to sessions, and go with them
        node = self._find(name)
        if node is None:
            raise NotFound("no such file")
        return node

    async def entries(self) -> Entries:
        errors = {error_name(name): node for name, node in self._errors.items()}
        named: dict[str, Node] = {**self._living_links(), **self._files, **errors}
        return Entries(list(named), FixedNodes(named.values()))

    async def create(self, name: str, mode: int, flags: int) -> tuple[RequestFile, Handle]:
        """A new empty file, open. Raises Exists, NoSpace."""
        if self._find(name) is not None:
            raise Exists("the name is taken")
        while len(self._files) >= MOST_FILES:
            if not self._drop_oldest():
                raise NoSpace(f"new/ holds {MOST_FILES} files, and none of them is done with; remove some")
        file = RequestFile(self._number(), self, name, mode)
        self._files[name] = file
        self._context.inodes.pin(file)
        self._touch()
        return file, await file.open(flags)

    def grow(self, size: int, file: RequestFile) -> None:
        """A file holds so many more bytes. Raises NoSpace."""
        while size > 0 and self._bytes + size > MOST_BYTES:
            if not self._drop_oldest(file):
                raise NoSpace(
                    f"the files in new/ hold {MOST_BYTES >> 20} MiB, and none is done with; remove some"
                )
        self._bytes += size

    def _drop_oldest(self, besides: RequestFile | None = None) -> bool:
        """Makes room: the oldest request that has its session and that nobody has open goes, with its link; where
        there is none the oldest that was refused, with its error. False where there is neither.

        Not as by unlink: the journal goes on knowing the name, so that the same request again gets the same session.
        """
        unknown = self._submissions.unknown()
        name = next((name for name in self._closed(besides) if self._done_with(name, unknown)), None)
        if name is None:
            name = next((name for name in self._closed(besides) if self._refused(name, unknown)), None)
        if name is None:
            return False
        log.info("new/ is full: the request %s, which is done with, is dropped", name)
        self._let_go(self._files.pop(name))
        self.clear_error(name)
        self._drop_link(stem(name))
        self._touch()
        return True

    def _closed(self, besides: RequestFile | None) -> Iterator[str]:
        """Names of requests that nobody has open, the oldest first."""
        for name, file in self._files.items():
            if not file.handles and file is not besides and is_request(name):
                yield name

    def _done_with(self, name: str, unknown: Container[str | None]) -> bool:
        return self._submissions.done_with(self._files[name], unknown)

    def _refused(self, name: str, unknown: Container[str | None]) -> bool:
        """Whether it has its answer, which is no."""
        file = self._files[name]
        judged = file.judged == file.version and name in self._errors
        return judged and not self._submissions.pending(file, unknown)

    def unlink(self, name: str) -> None:
        """A request file goes with its link and its error; sessions are not touched."""
        node = self._find(name)
        if isinstance(node, RequestFile):
            del self._files[name]
            self._let_go(node)
            self.clear_error(name)
            if is_request(name):
                self._forget(name)
        elif isinstance(node, ErrorText):
            self.clear_error(next(about for about, error in self._errors.items() if error is node))
        elif isinstance(node, SessionLink):
            # While the file is there, the same request again is still the same.
            if name + REQUEST_ENDING in self._files:
                self._drop_link(name)
            else:
                self._forget(name + REQUEST_ENDING)
        elif node is None:
            raise NotFound("no such file")
        else:
            raise NotPermitted("the template is part of the mount")
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
            self._let_go(taken)
        del self._files[old]
        self._files[new] = file
        file.name = new
        self.clear_error(old)
        self._touch()
        if not is_request(new):
            return
        if is_request(old):
            self._submissions.renamed(old, new)
            link = self._links.get(stem(old))
            if link is not None:
                self._drop_link(stem(old))
                self.succeeded(new, link.session_id)
        file.judged = -1  # what it was judged to be under another name does not count
        await self._submissions.closed(file, last=file.writers == 0, heard=False)
        await self._submissions.outcome(file, RENAME_WAITS)

    async def closed(self, file: RequestFile, *, last: bool) -> None:
        """Judges a file. Raises what is wrong with it, once it can be known."""
        if not self.read_only:
            await self._submissions.closed(file, last=last, heard=not last)

    def _adopted(self, record: Record, entry: Entry) -> None:
        """A session turned up whose submission had failed."""
        self._context.requests.ended(Outcome.ADOPTED)
        self._context.keeper.watch(entry.id)
        if not record.forgotten:
            self._submissions.show_success(record.name, record.fingerprint, entry.id)

    def succeeded(self, name: str, session_id: str) -> None:
        """Links the session, clears the error."""
        self.clear_error(name)
        known = self._links.get(stem(name))
        if known is not None and known.session_id == session_id:
            return
        self._drop_link(stem(name))
        link = SessionLink(self._number(), session_id, self._directory_name, self.now())
        self._links[stem(name)] = link
        self._context.inodes.pin(link)
        self._touch()

    def failed(self, name: str, error: ExportfsError) -> None:
        """Shows the error, if the file is still there."""
        self.clear_error(name)
        if name not in self._files:
            return
        node = ErrorText(self._number(), str(error), self.now(), self._files[name])
        self._errors[name] = node
        self._context.inodes.pin(node)
        self._touch()

    def file(self, name: str) -> RequestFile | None:
        """The file of a name."""
        return self._files.get(name)

    def linkable(self, name: str) -> bool:
        """Whether no file is where the link of a request goes."""
        return stem(name) not in self._files

    def clear_error(self, name: str) -> None:
        """What was wrong with the file of this name is no longer."""
        node = self._errors.pop(name, None)
        if node is not None:
            self._context.inodes.unpin(node)
            self._touch()

    def _let_go(self, file: RequestFile) -> None:
        file.name = None
        file.drop_unused()
        self._context.inodes.unpin(file)

    def _forget(self, name: str) -> None:
        self._submissions.removed(name)
        self._drop_link(stem(name))

    def _drop_link(self, name: str) -> None:
        link = self._links.pop(name, None)
        if link is not None:
            self._context.inodes.unpin(link)

    def _living_links(self) -> dict[str, SessionLink]:
        """Sessions that are gone from the server show no link; one that a listing had lost shows it again."""
        catalogue = self._context.catalogue
        return {
            name: link for name, link in self._links.items() if catalogue.get(link.session_id) is not None
        }

    def _link(self, name: str) -> SessionLink | None:
        link = self._links.get(name)
        return link if link is not None and self._context.catalogue.get(link.session_id) is not None else None

    def _find(self, name: str) -> Node | None:
        if name == TEMPLATE_NAME:
            return self._template
        if name.endswith(ERROR_ENDING):
            for about, node in self._errors.items():
                if error_name(about) == name:
                    return node
        return self._files.get(name) or self._link(name)

    def _directory_name(self, session_id: str) -> str:
        entry = self._context.catalogue.get(session_id)
        return entry.name if entry is not None else percent_encode(session_id)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _touch(self) -> None:
        self._mtime_ns = int(self.now() * SECOND)
