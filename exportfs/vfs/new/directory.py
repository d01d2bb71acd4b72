"""`new/`: where a closed request file starts an export. What closing means: see `submissions`."""

import logging
import stat
from dataclasses import asdict, replace

from exportfs.errors import Exists, IsADirectory, NoSpace, NotFound, NotPermitted, ReadOnly
from exportfs.naming import percent_encode
from exportfs.requests.names import ERROR_ENDING, error_name, is_request, link_name
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import FIRST_IN_NEW, NEW
from exportfs.vfs.new.file import ErrorText, RequestFile, SessionLink
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
    """The directory: the nodes that stand for the names, links and errors that the ledger knows."""

    __slots__ = (
        "_bytes",
        "_changed",
        "_context",
        "_errors",
        "_files",
        "_ledger",
        "_links",
        "_mtime_ns",
        "_next",
        "_submissions",
        "_template",
    )

    def __init__(self, context: Context) -> None:
        super().__init__(NEW)
        self._context = context
        self._ledger = context.ledger
        self._files: dict[int, RequestFile] = {}
        # By its own name, and by that of the file that it is about.
        self._links: dict[str, SessionLink] = {}
        self._errors: dict[str, ErrorText] = {}
        self._bytes = 0
        self._changed = Changes()
        self._next = FIRST_IN_NEW
        self._mtime_ns = int(context.mounted_at * SECOND)
        self._template = TemplateFile(context)
        context.inodes.pin(self._template)
        self._submissions = Submissions(context)
        self._ledger.on_shown = self._show
        self._ledger.show_links(context.submitter.has)

    @property
    def bytes_held(self) -> int:
        """Of all files together."""
        return self._bytes

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
        if self._context.read_only:
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
        if self._ledger.links:
            self._context.catalogue.look()
        links = {link: self._link(link) for link in self._ledger.links}
        named: dict[str, Node] = {link: node for link, node in links.items() if node is not None}
        named.update((name, self._files[number]) for name, number in self._ledger.names.items())
        named.update((error_name(name), node) for name, node in self._errors.items())
        return Entries(list(named), FixedNodes(named.values()))

    async def create(self, name: str, mode: int, flags: int) -> tuple[RequestFile, Handle]:
        """A new empty file, open. Raises Exists, NoSpace."""
        if self._find(name) is not None:
            raise Exists("the name is taken")
        while len(self._files) >= MOST_FILES:
            if not self.make_room():
                raise NoSpace(f"new/ holds {MOST_FILES} files, and none of them is done with; remove some")
        file = RequestFile(self._number(), self, mode)
        self._files[file.ino] = file
        self._ledger.created(file.ino, name)
        self._context.inodes.pin(file)
        self._touch()
        return file, await file.open(flags)

    def grow(self, size: int, file: RequestFile) -> None:
        """A file holds so many more bytes. Raises NoSpace."""
        while size > 0 and self._bytes + size > MOST_BYTES:
            if not self.make_room(file):
                raise NoSpace(
                    f"the files in new/ hold {MOST_BYTES >> 20} MiB, and none is done with; remove some"
                )
        self._bytes += size

    def make_room(self, besides: RequestFile | None = None) -> bool:
        """The oldest request that has its session and that nobody has open goes, with its link; where there is none
        the oldest that was refused, with its error. False where there is neither."""
        files = (self._files[number] for number in self._ledger.names.values())
        closed = ((file.ino, file.version) for file in files if not file.handles and file is not besides)
        number = self._ledger.done_with(closed)
        name = self._ledger.name(number) if number is not None else None
        if number is None or name is None:
            return False
        log.info("new/ is full: the request %s, which is done with, is dropped", name)
        self._ledger.made_room(name)
        self._let_go(number)
        self._touch()
        return True

    def unlink(self, name: str) -> None:
        """A request file goes with its link and its error; sessions are not touched."""
        node = self._find(name)
        if isinstance(node, RequestFile):
            self._ledger.removed(name)
            self._let_go(node.ino)
        elif isinstance(node, ErrorText):
            self._ledger.clear_error(next(about for about, error in self._errors.items() if error is node))
        elif isinstance(node, SessionLink):
            self._ledger.link_removed(name)
        elif node is None:
            raise NotFound("no such file")
        else:
            raise NotPermitted("the template is part of the mount")
        self._touch()

    async def rename(self, old: str, new: str, *, replace: bool) -> None:
        """Renames a file within new/; to a request name that submits it.

        The rename holds also where the submission fails: the file stays, to be corrected.
        """
        file = self.file(old)
        shown = self._find(old)
        if shown is None:
            raise NotFound("no such file")
        if file is None or shown is not file:  # an error may stand before a file of its name
            raise NotPermitted("only files can be renamed")
        taken = self._find(new)
        if taken is file:
            return
        if taken is not None and not replace:
            raise Exists("the name is taken")
        if taken is not None and not isinstance(taken, RequestFile):
            raise NotPermitted("the name is taken by something that is not a file")
        self._ledger.renamed(old, new)
        if taken is not None:
            self._let_go(taken.ino)
        self._touch()
        if is_request(new):
            await self._submissions.renamed(file, min(RENAME_WAITS, self._context.timeout / 2))

    async def closed(self, file: RequestFile, *, last: bool) -> None:
        """Judges a file. Raises what is wrong with it, once it can be known."""
        await self._submissions.closed(file, last=last, wait=not last)

    def file(self, name: str) -> RequestFile | None:
        """The file of a name."""
        number = self._ledger.names.get(name)
        return self._files[number] if number is not None else None

    def _show(self, name: str) -> None:
        """The link or the error of a file has changed."""
        self._unpin(self._errors.pop(name, None))
        error = self._ledger.errors.get(name)
        if error is not None:
            node = ErrorText(self._number(), error, self.now(), self._files[self._ledger.names[name]])
            self._errors[name] = node
            self._context.inodes.pin(node)
        link = link_name(name)
        known = self._links.get(link)
        if known is not None and self._ledger.links.get(link) != known.session_id:
            self._unpin(self._links.pop(link))
        self._link(link)
        self._touch()

    def _link(self, link: str) -> SessionLink | None:
        """Sessions that are gone from the server show no link; one that a listing had lost shows it again."""
        session_id = self._ledger.links.get(link)
        if session_id is None:
            return None
        node = self._links.get(link)
        if node is None:
            node = SessionLink(self._number(), session_id, self._directory_name, self.now())
            self._links[link] = node
            self._context.inodes.pin(node)
        return node if self._context.submitter.has(session_id) else None

    def _let_go(self, number: int) -> None:
        file = self._files.pop(number)
        file.linked = False
        file.drop_unused()
        self._unpin(file)

    def _unpin(self, node: Node | None) -> None:
        if node is not None:
            self._context.inodes.unpin(node)

    def _find(self, name: str) -> Node | None:
        if name == TEMPLATE_NAME:
            return self._template
        if name.endswith(ERROR_ENDING):
            for about, node in self._errors.items():
                if error_name(about) == name:
                    return node
        return self.file(name) or self._link(name)

    def _directory_name(self, session_id: str) -> str:
        entry = self._context.catalogue.get(session_id)
        return entry.name if entry is not None else percent_encode(session_id)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _touch(self) -> None:
        self._mtime_ns = int(self.now() * SECOND)
