"""The ledger: files in new/, what they ask for, what is under way and what is shown of it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from exportfs.errors import Exists, ExportfsError, InvalidArgument, TimedOut, TooLarge
from exportfs.record import NOTHING_SENT
from exportfs.requests.names import REQUEST_ENDING, is_request, link_name
from exportfs.sessions.ledger.records import Record, Records, RecordState


@dataclass(eq=False, slots=True)
class Submission:
    """One request under way, under one name or, after renames, several or none."""

    fingerprint: str
    last_name: str
    names: list[str] = field(default_factory=list)
    files: list[int] = field(default_factory=list)
    """Numbers of those that asked for it, under whatever name they are now."""
    ended: bool = False
    doubt: ExportfsError | None = None
    """Why it is unknown what became of it, while its session is still looked for."""
    error: ExportfsError | None = None
    sent: bool = False
    """Whether the server was asked to start it, and has not said that it did not."""
    given_up: bool = False
    """Whether somebody who waited for it was told of an error: nothing is sent for it from then on."""
    session_id: str | None = None
    """Of the session that it started."""

    @property
    def name(self) -> str:
        return self.names[0] if self.names else self.last_name


class Closing(Enum):
    """What the closing of a file calls for."""

    NOTHING = auto()
    WAIT = auto()
    """For the outcome of its own submission."""
    HINT = auto()
    """It is not a request by its name; perhaps it should be."""
    JUDGE = auto()
    """Its content is to be read."""


@dataclass(slots=True)
class _File:
    """What is known of a file that has a name."""

    name: str
    judged: int = 0
    """The version of its content that was last judged for good; a new one starts empty, which asks for nothing."""
    failed: int = -1
    """The version of its content with which a close has failed: the end of that opening asks for nothing more."""
    fingerprint: str | None = None
    """Of what it was last judged to ask for."""
    submission: Submission | None = None
    """Its latest."""
    started: tuple[str, str] | None = None
    """Fingerprint and session id of the request that this very file started, under whatever name."""

    def has(self, fingerprint: str | None) -> bool:
        """Whether it has started that."""
        return self.started is not None and self.started[0] == fingerprint


class Ledger:
    """Of one server and user, for the life of a mount. `new_key` makes the keys of records."""

    def __init__(self, records: Iterable[Record], new_key: Callable[[], str]) -> None:
        self.records = Records(records, new_key)
        self.on_shown: Callable[[str], None] = lambda name: None
        """Told of the name of a file whose link or error changed."""
        self.names: dict[str, int] = {}
        """Numbers of the files in new/, the oldest first."""
        self.links: dict[str, str] = {}
        """Session ids, by the names of the links."""
        self.errors: dict[str, str] = {}
        """What is wrong, by the name of the file that it is about."""
        self._files: dict[int, _File] = {}
        self._under_way: dict[tuple[str, str], Submission] = {}

    # Files: names

    def name(self, number: int) -> str | None:
        """The name of a file; None once it has none."""
        file = self._files.get(number)
        return file.name if file is not None else None

    def created(self, number: int, name: str) -> None:
        """A new, empty file."""
        self._files[number] = _File(name)
        self.names[name] = number

    def renamed(self, old: str, new: str) -> None:
        """A file was renamed, perhaps over another. Between names of requests, what it asked for moves along."""
        self._let_go(new)
        number = self.names[new] = self.names.pop(old)
        file = self._files[number]
        file.name = new
        self.clear_error(old)
        self.clear_error(new)  # it was about the other file
        if not is_request(new):
            return
        file.judged = file.failed = -1  # what it was judged to be under another name does not count
        if is_request(old):
            self._move(old, new)

    def _move(self, old: str, new: str) -> None:
        self.records.renamed(old, new)
        for (name, fingerprint), submission in list(self._under_way.items()):
            if name == old:
                del self._under_way[name, fingerprint]
                self._under_way.setdefault((new, fingerprint), submission)
                # Once each: it may have had both names.
                submission.names = list(
                    dict.fromkeys(new if each == old else each for each in submission.names)
                )
        session_id = self.links.get(link_name(old))
        if session_id is not None:
            self._unlink(old)
            self._link(new, session_id)

    def removed(self, name: str) -> None:
        """A file was removed: it goes with its link and its error. What it started stays."""
        self._let_go(name)
        self.clear_error(name)
        if is_request(name):
            self._forget(name)

    def link_removed(self, link: str) -> None:
        """A link was removed. While its file is there, the same request again is still the same."""
        name = link + REQUEST_ENDING
        if name in self.names:
            self._unlink(name)
        else:
            self._forget(name)

    def made_room(self, name: str) -> None:
        """A file that is done with went because new/ is full. Not as if it were removed: the same request again is
        still the same."""
        self._let_go(name)
        self.clear_error(name)
        self._unlink(name)

    def _let_go(self, name: str) -> None:
        number = self.names.pop(name, None)
        if number is not None:
            del self._files[number]

    def _forget(self, name: str) -> None:
        self.records.forget(name)
        for submission in self._under_way.values():
            if name in submission.names:
                submission.names.remove(name)
                submission.last_name = name
        self._unlink(name)

    # Files: what they ask for

    def closing(self, number: int, version: int, *, last: bool = False) -> Closing:
        """A descriptor of a file was closed, and its content is of this version. last: nobody hears of what comes of
        it, since close() has returned."""
        file = self._files.get(number)
        if file is None:
            return Closing.NOTHING
        if file.judged == version:
            return Closing.WAIT if self._is_under_way(file) else Closing.NOTHING
        if not is_request(file.name):
            return Closing.HINT
        return Closing.NOTHING if last and file.failed == version else Closing.JUDGE

    def close_failed(self, number: int, version: int) -> None:
        """Who closed a file with this content, or renamed it, is told of an error."""
        file = self._files.get(number)
        if file is not None:
            file.failed = max(file.failed, version)  # an earlier one may be read for longer

    def refused(self, number: int, version: int, error: ExportfsError) -> None:
        """A request cannot be submitted. Where the content is wrong, that is settled for this version of it."""
        file = self._files.get(number)
        if file is None or not is_request(file.name):
            return
        if isinstance(error, InvalidArgument | TooLarge):
            file.judged, file.fingerprint = version, None
        self.failed(file.name, error)

    def asks(
        self, number: int, version: int, fingerprint: str, exists: Callable[[str], bool]
    ) -> tuple[Submission | None, bool]:
        """A file asks for what this fingerprint stands for.

        Returns the submission to wait for, and whether it is new and has to be carried out; none where there is
        nothing to do any more, and where it has its session, as `exists` says of session ids. Raises Exists.
        """
        file = self._files.get(number)
        if file is None or not is_request(file.name):
            return None, False  # while it was read it was removed, or renamed
        # While this one was read in a thread, a later close may have been judged.
        if version >= file.judged:
            file.judged, file.fingerprint = version, fingerprint
        if link_name(file.name) in self.names:
            link = link_name(file.name)
            error = Exists(f"{NOTHING_SENT}: the link to the session would replace the file {link}")
            self.failed(file.name, error)
            raise error
        own = file.submission
        submission = own if own is not None and own.fingerprint == fingerprint and not own.ended else None
        if submission is None and self._has_session(file, fingerprint, exists):
            return None, False  # also where another file of this name waits for its answer
        submission = submission or self._under_way.get((file.name, fingerprint))
        begins = submission is None
        if submission is None:
            submission = Submission(fingerprint, file.name)
        self._under_way[file.name, fingerprint] = submission
        if file.name not in submission.names:
            submission.names.append(file.name)
        submission.files.append(number)
        file.submission = submission
        return submission, begins

    def _has_session(self, file: _File, fingerprint: str, exists: Callable[[str], bool]) -> bool:
        """Whether this very file, or one of its name, has started it, and the session is there."""
        started = file.started[1] if file.started is not None and file.has(fingerprint) else None
        if started is not None:
            # Also where a listing misses it: then the submission asks for it under this name.
            self.records.given(started, file.name)
        for record in self.records.same(file.name, fingerprint):
            if started is None and record.session_id is not None and exists(record.session_id):
                started = record.session_id
                self.records.given_again(record, file.name)
        if started is None or not exists(started):
            return False
        file.started = (fingerprint, started)
        self._link(file.name, started)
        return True

    def submission(self, number: int) -> Submission | None:
        """The latest submission of a file, if it is of what the file asks for now."""
        file = self._files.get(number)
        if file is None or file.submission is None or file.submission.fingerprint != file.fingerprint:
            return None
        return file.submission

    def under_way(self) -> list[tuple[str, str]]:
        """Names and fingerprints of what is being submitted."""
        return list(self._under_way)

    def has_started(self, number: int) -> bool:
        """Whether a file has the session that it asks for."""
        file = self._files.get(number)
        return file is not None and file.has(file.fingerprint)

    def done_with(self, closed: Iterable[tuple[int, int]]) -> int | None:
        """Which of the files, given as numbers and versions, the oldest first, is the first to go where room is
        needed: one that has its session; where there is none one that was refused. None where all are needed."""
        unknown = self.records.unknown()
        answered = []
        for number, version in closed:
            file = self._files[number]
            pending = self._is_under_way(file) or file.fingerprint in unknown
            if not is_request(file.name) or file.judged != version or pending:
                continue
            if file.has(file.fingerprint):
                return number
            if file.name in self.errors:
                answered.append(number)
        return answered[0] if answered else None

    @staticmethod
    def _is_under_way(file: _File) -> bool:
        return file.submission is not None and not file.submission.ended

    # Submissions: what becomes of them

    def answered(self, key: str, session_id: str) -> None:
        """The request of this record started this session."""
        for ended in self.records.answered(key, session_id):
            if self.links.get(link_name(ended.name)) == session_id:
                self._unlink(ended.name)
        wanted = next(record.fingerprint for record in self.records.all if record.key == key)
        for file in self._files.values():
            if file.started is not None and file.started[1] == session_id and file.started[0] != wanted:
                file.started = None

    def started(self, submission: Submission, session_id: str) -> None:
        """It started a session, or found the one that the same request had started."""
        submission.session_id = session_id
        self.records.told(session_id, of_it=not submission.given_up)
        if not submission.names:
            self.records.forget(submission.last_name, session_id)
        for number in submission.files:
            file = self._files.get(number)
            if file is not None and file.fingerprint == submission.fingerprint:
                file.started = (submission.fingerprint, session_id)
        for name in submission.names:
            self.records.given(session_id, name)
            self._succeeded(name, submission.fingerprint, session_id)

    def ended(self, submission: Submission, error: ExportfsError | None) -> None:
        """It is over. Its error is shown by `tell`."""
        for key in [key for key, value in self._under_way.items() if value is submission]:
            del self._under_way[key]
        submission.error, submission.ended = error, True

    def gave_up(self, submission: Submission) -> ExportfsError:
        """Somebody who waited for it does so no longer, and is told of the error that this returns. They may ask for
        the same again, under any name: if it has its session, that is the one they get."""
        submission.given_up = True
        if submission.session_id is not None:
            self.records.told(submission.session_id, of_it=False)
        if not submission.sent and submission.session_id is None:
            said = self.records.nothing_sent(submission.name, submission.fingerprint)
            error: ExportfsError = TimedOut(f"it took too long until the export could be started; {said}")
        else:
            error = submission.doubt or TimedOut(
                "the server has not answered yet; the outcome will show here"
            )
        if not submission.ended:
            self.tell(submission, error)
        return error

    def tell(self, submission: Submission, error: ExportfsError) -> None:
        """Shows an error under its names, where the files ask for nothing else by now."""
        for name in submission.names:
            self._failed(name, submission.fingerprint, error)

    def settle(
        self,
        turned_up: Callable[[Record], str | None],
        overdue_since: float,
        doubt: Callable[[Record], ExportfsError | None] = lambda record: None,
    ) -> tuple[list[str], list[str]]:
        """After a listing, which shows the session of a record or not: what was waited for until now. doubt: why one
        that does not turn up may have been started all the same.

        Returns the ids of the sessions that turned up, and the names of the requests that certainly started nothing.
        """
        found, given_up = [], []
        for record in self.records.unresolved():
            if self.records.state(record) is RecordState.ASKING:
                continue
            session_id = turned_up(record)
            if session_id is not None:
                self.records.turned_up(record, session_id)
                found.append(session_id)
                if not record.forgotten:
                    self._succeeded(record.name, record.fingerprint, session_id)
            elif self.records.overdue(record, overdue_since):
                doubtful = doubt(record)
                if doubtful is not None:
                    if self.errors.get(record.name) != str(doubtful):
                        self._failed(record.name, record.fingerprint, doubtful)
                    continue
                self.records.not_started(record.key)
                given_up.append(record.name)
                message = "the server did not start this export; write the request again to ask for it again"
                self._failed(record.name, record.fingerprint, ExportfsError(message))
        return found, given_up

    def heard(self, record: Record) -> None:
        """Another mount of this server knows what session a record has that is unresolved here."""
        self.records.heard(record)
        if record.session_id is not None and not record.forgotten and not record.destroyed:
            self._succeeded(record.name, record.fingerprint, record.session_id)

    # What is shown

    def show_links(self, exists: Callable[[str], bool]) -> None:
        """After a remount: the links of what was asked for before."""
        for record in self.records.all:
            if (
                self.records.state(record) not in (RecordState.STARTED, RecordState.UNREPORTED)
                or record.forgotten
            ):
                continue
            if record.session_id is not None and exists(record.session_id):
                self._link(record.name, record.session_id)

    def failed(self, name: str, error: ExportfsError) -> None:
        """Something is wrong with the file of this name, if it is still there."""
        self.clear_error(name)
        if name in self.names:
            self.errors[name] = str(error)
            self.on_shown(name)

    def clear_error(self, name: str) -> None:
        """What was wrong with the file of this name is no longer."""
        if self.errors.pop(name, None) is not None:
            self.on_shown(name)

    def _succeeded(self, name: str, fingerprint: str, session_id: str) -> None:
        """Unless the file has come to ask for something else since."""
        file = self._files.get(self.names.get(name, -1))
        if file is not None and file.fingerprint == fingerprint:
            file.started = (fingerprint, session_id)
        if file is None or file.fingerprint in (None, fingerprint):
            self._link(name, session_id)

    def _failed(self, name: str, fingerprint: str, error: ExportfsError) -> None:
        file = self._files.get(self.names.get(name, -1))
        if file is not None and file.fingerprint == fingerprint and not file.has(fingerprint):
            self.failed(name, error)

    def _link(self, name: str, session_id: str) -> None:
        self.clear_error(name)
        if self.links.get(link_name(name)) != session_id:
            self.links[link_name(name)] = session_id
            self.on_shown(name)

    def _unlink(self, name: str) -> None:
        if self.links.pop(link_name(name), None) is not None:
            self.on_shown(name)
