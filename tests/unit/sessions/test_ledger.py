"""The ledger by itself: its table, and events in any order."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exportfs.errors import Exists, ExportfsError, InvalidArgument, TimedOut
from exportfs.requests.names import is_request, link_name
from exportfs.sessions.ledger import (
    Change,
    Closing,
    Drop,
    Ledger,
    Put,
    Record,
    Records,
    RecordState,
    Submission,
)

A, B = "a.json", "b.json"
MARK = "fingerprint"


def keys() -> Callable[[], str]:
    numbers = itertools.count(1)
    return lambda: f"key {next(numbers)}"


def record(name: str = A, **known: Any) -> Record:
    return Record("key", name, MARK, False, "outline", (), at=1e9, gone=1e9, **known)


def in_state(state: RecordState) -> Records:
    """Records of which the only one, of A, is in this state."""
    made = {
        RecordState.ASKING: record(),
        RecordState.UNKNOWN: record(),
        RecordState.STARTED: record(session_id="session"),
        RecordState.UNREPORTED: record(session_id="session", reported=False),
        RecordState.FORGOTTEN: record(session_id="session", forgotten=True),
        RecordState.DESTROYED: record(session_id="session", destroyed=True),
    }[state]
    records = Records([made], keys())
    if state is RecordState.ASKING:
        records.asking(made)
    assert [records.state(each) for each in records.all] == [state]
    return records


@pytest.mark.promise("W3")
@pytest.mark.parametrize(
    ("state", "same_name", "other_name"),
    [
        (RecordState.ASKING, True, True),
        (RecordState.UNKNOWN, True, True),
        (RecordState.STARTED, True, False),
        (RecordState.UNREPORTED, True, True),
        (RecordState.FORGOTTEN, False, False),
        (RecordState.DESTROYED, False, False),
    ],
)
def test_what_is_the_same_request(state: RecordState, same_name: bool, other_name: bool) -> None:
    records = in_state(state)
    assert bool(records.same(A, MARK)) is same_name
    assert bool(records.same(B, MARK)) is other_name
    assert not records.same(A, "another fingerprint")


def test_an_answer_that_is_being_written_down_is_not_another_names() -> None:
    records = in_state(RecordState.ASKING)
    records.answered("key", "session")
    assert records.same(A, MARK)
    assert not records.same(B, MARK)
    records.forget(A)
    assert not records.same(A, MARK)
    records.not_waited_for("key")  # and nobody has heard of it: it is for whoever asks again
    assert records.same(A, MARK)
    assert records.same(B, MARK)


Event = Callable[[Records], None]


def answer(records: Records) -> None:
    records.answered("key", "session")


def hear_of_it(records: Records) -> None:
    records.told("session", of_it=True)


def hear_of_an_error(records: Records) -> None:
    records.told("session", of_it=False)


def turn_up(records: Records) -> None:
    records.turned_up(records.all[0], "session")


def give_again(records: Records) -> None:
    records.given_again(records.all[0], A)


def remove(records: Records) -> None:
    records.forget(A)


def destroy(records: Records) -> None:
    records.destroyed("session")


def a_day_later(records: Records) -> None:
    records.prune(set(), 1e9 + 86401)


@pytest.mark.parametrize(
    ("before", "event", "after"),
    [
        (RecordState.ASKING, answer, RecordState.UNREPORTED),
        (RecordState.UNREPORTED, hear_of_it, RecordState.STARTED),
        (RecordState.STARTED, hear_of_an_error, RecordState.UNREPORTED),
        (RecordState.FORGOTTEN, hear_of_an_error, RecordState.UNREPORTED),
        (RecordState.DESTROYED, hear_of_an_error, RecordState.DESTROYED),
        (RecordState.ASKING, lambda records: records.not_started("key"), None),
        (RecordState.ASKING, lambda records: records.not_waited_for("key"), RecordState.UNKNOWN),
        (RecordState.UNKNOWN, turn_up, RecordState.UNREPORTED),
        (RecordState.UNKNOWN, remove, RecordState.UNKNOWN),
        (RecordState.UNKNOWN, a_day_later, RecordState.UNKNOWN),
        (RecordState.STARTED, remove, RecordState.FORGOTTEN),
        (RecordState.STARTED, destroy, RecordState.DESTROYED),
        (RecordState.STARTED, a_day_later, None),
        (RecordState.UNREPORTED, give_again, RecordState.STARTED),
        (RecordState.UNREPORTED, remove, RecordState.UNREPORTED),
        (RecordState.UNREPORTED, destroy, RecordState.DESTROYED),
        (RecordState.FORGOTTEN, destroy, RecordState.DESTROYED),
        (RecordState.FORGOTTEN, a_day_later, None),
    ],
)
def test_what_an_event_makes_of_a_record(
    before: RecordState, event: Event, after: RecordState | None
) -> None:
    records = in_state(before)
    written: list[Change] = []
    records.on_change = written.append
    kept = records.all
    event(records)
    assert [records.state(each) for each in records.all] == ([] if after is None else [after])
    # On disk is what is known, but for who waits.
    assert [Put(each) for each in records.all if each not in kept] == [
        change for change in written if isinstance(change, Put)
    ]
    assert [change for change in written if isinstance(change, Drop)] == (
        [Drop("key")] if after is None else []
    )


def with_file(name: str = A) -> Ledger:
    ledger = Ledger([], keys())
    ledger.created(1, name)
    return ledger


def nothing_exists(_: str) -> bool:
    return False


@pytest.mark.promise("W2")
def test_what_a_closing_calls_for() -> None:
    ledger = with_file()
    assert ledger.closing(1, 0) is Closing.NOTHING  # new and empty
    assert ledger.closing(1, 1) is Closing.JUDGE
    submission, begins = ledger.asks(1, 1, MARK, nothing_exists)
    assert submission is not None
    assert begins
    assert ledger.closing(1, 1) is Closing.WAIT
    assert ledger.closing(1, 2) is Closing.JUDGE
    assert ledger.asks(1, 1, MARK, nothing_exists) == (submission, False)
    ledger.ended(submission, None)
    assert ledger.closing(1, 1) is Closing.NOTHING
    assert ledger.closing(2, 1) is Closing.NOTHING  # no such file
    ledger.created(3, "notes")
    assert ledger.closing(3, 1) is Closing.HINT


def test_the_verdict_on_a_content_that_changed_meanwhile_does_not_count() -> None:
    ledger = with_file()
    later, _ = ledger.asks(1, 2, "later", nothing_exists)
    ledger.asks(1, 1, "earlier", nothing_exists)
    assert ledger.closing(1, 2) is not Closing.JUDGE
    assert later is not None
    ledger.started(later, "session")
    assert ledger.has_started(1)
    assert ledger.links == {"a": "session"}


def test_the_end_of_an_opening_asks_for_nothing_that_its_close_has_failed_with() -> None:
    ledger = with_file()
    ledger.refused(1, 1, TimedOut("the names could not be looked up"))
    ledger.close_failed(1, 1)
    assert ledger.closing(1, 1, last=True) is Closing.NOTHING
    assert ledger.closing(1, 1) is Closing.JUDGE  # another close, whose caller hears of it
    assert ledger.closing(1, 2, last=True) is Closing.JUDGE
    ledger.renamed(A, B)
    assert ledger.closing(1, 1, last=True) is Closing.JUDGE


@pytest.mark.promise("W12")
@pytest.mark.parametrize("sent", [False, True])
def test_who_gives_up_is_told_whether_anything_was_sent(sent: bool) -> None:
    ledger = with_file()
    submission, _ = ledger.asks(1, 1, MARK, nothing_exists)
    assert submission is not None
    submission.sent = sent
    error = ledger.gave_up(submission)
    assert ("nothing was sent" in str(error)) is not sent
    assert ledger.errors == {A: str(error)}
    assert submission.given_up


@pytest.mark.promise("W12")
def test_who_gives_up_is_not_told_that_nothing_was_sent_where_it_was_before() -> None:
    ledger = Ledger([record(B)], keys())
    ledger.created(1, A)
    submission, _ = ledger.asks(1, 1, MARK, nothing_exists)
    assert submission is not None
    assert "sent before" in str(ledger.gave_up(submission))
    assert "nothing was sent" not in ledger.errors[A]


def test_a_link_that_would_replace_a_file_is_refused() -> None:
    ledger = with_file()
    ledger.created(2, "a")
    with pytest.raises(Exists, match="replace the file a"):
        ledger.asks(1, 1, MARK, nothing_exists)
    assert "replace the file a" in ledger.errors[A]
    assert ledger.under_way() == []


def test_what_was_wrong_with_a_file_goes_with_it_when_another_takes_its_name() -> None:
    ledger = with_file()
    ledger.refused(1, 1, InvalidArgument("no camera"))
    ledger.created(2, ".x")
    ledger.renamed(".x", A)
    assert ledger.errors == {}
    assert ledger.closing(2, 0) is Closing.JUDGE


@pytest.mark.promise("W9")
def test_room_is_made_by_what_is_done_with() -> None:
    ledger = Ledger([], keys())
    for number, name in enumerate(("open.txt", "refused.json", "waits.json", "done.json"), 1):
        ledger.created(number, name)
    ledger.refused(2, 1, InvalidArgument("no"))
    waits, _ = ledger.asks(3, 1, "waits", nothing_exists)
    done, _ = ledger.asks(4, 1, "done", nothing_exists)
    assert done is not None
    assert waits is not None
    files = [(number, 1) for number in ledger.names.values()]
    assert ledger.done_with(files) == 2
    ledger.started(done, "session")
    ledger.ended(done, None)
    assert ledger.done_with(files) == 4
    assert ledger.done_with([(1, 1), (3, 1)]) is None
    assert ledger.done_with([(4, 2)]) is None  # it was changed since


def of_sessions(*session_ids: str | None, at: float = 1e9) -> Records:
    """Records of A, one of each session, whose keys are their numbers."""
    made = [Record(str(n), A, MARK, False, "outline", (), each, at=at) for n, each in enumerate(session_ids)]
    return Records(made, keys())


@pytest.mark.promise("W3", "W12")
@pytest.mark.parametrize(
    ("session_id", "days", "stays"),
    [
        ("there", 2.0, True),
        ("gone", 0.9, True),  # a server that is just starting lists nothing
        ("gone", 1.1, False),
        (None, 2.0, True),
    ],
)
def test_what_is_dropped_in_time(session_id: str | None, days: float, stays: bool) -> None:
    """The same request would start another export."""
    records = of_sessions(session_id)
    records.prune({"there"}, 1e9 + 86400)
    told: list[Change] = []
    records.on_change = told.append
    records.session_ids()
    records.prune({"there"}, 1e9 + 86400 + days * 86400)
    assert bool(records.all) is stays
    assert told == ([] if stays else [Drop("0")])
    assert records.session_ids() == ({session_id} if stays and session_id else set())


DAY = 86400.0


@pytest.mark.promise("W3", "K4")
@pytest.mark.parametrize(
    ("mounts", "stays"),
    [
        # Asked for long ago, and kept alive since: server and mount are started together, and it lists nothing yet.
        ([(40 * DAY, False)], True),
        ([(40 * DAY, False), (40.1 * DAY, True), (42 * DAY, False)], True),
        ([(40 * DAY, False), (40.9 * DAY, False), (41.1 * DAY, True)], True),
        ([(40 * DAY, False), (41.1 * DAY, False)], False),
        # The clock was wrong for a while.
        ([(4000 * DAY, False)], True),
        ([(4000 * DAY, False), (2 * DAY, False), (2.5 * DAY, False)], True),
        ([(-4000 * DAY, False)], True),
    ],
)
def test_a_session_that_is_missing_when_a_mount_begins(mounts: list[tuple[float, bool]], stays: bool) -> None:
    """It was forgotten where it had been asked for a day ago: nobody kept it alive any more, and the same request
    started another export."""
    records = of_sessions("session")
    for when, listed in mounts:
        records.prune({"session"} if listed else set(), 1e9 + when)
    assert bool(records.all) is stays


@pytest.mark.promise("W3", "S2")
def test_what_happens_to_one_session_happens_to_no_other() -> None:
    def marked(event: Callable[[Records], None], attribute: str) -> list[object]:
        records = of_sessions("one", "two", None)
        told: list[Change] = []
        records.on_change = told.append
        event(records)
        event(records)
        assert {change.record.key for change in told if isinstance(change, Put)} == {"0"}
        return [getattr(each, attribute) for each in records.all]

    assert marked(lambda records: records.destroyed("one"), "destroyed") == [True, False, False]
    assert marked(lambda records: records.stopped("one"), "stopped") == [True, False, False]
    assert marked(lambda records: records.forget(A, "one"), "forgotten") == [True, False, False]
    assert marked(lambda records: records.told("one", of_it=False), "reported") == [False, True, True]
    assert marked(lambda records: records.footage_told("one", {"x": 1}), "footage") == [{"x": 1}, None, None]


def test_renames_and_removals_of_one_name_leave_the_others() -> None:
    records = Records([record(), Record("b", B, MARK, False, "outline", ())], keys())
    records.forget(A)
    records.renamed(
        A, "c.json"
    )  # another file has come to be A since: that of the one removed stays what it was
    records.renamed(B, "d.json")
    assert [(each.name, each.forgotten) for each in records.all] == [(A, True), ("d.json", False)]


@pytest.mark.promise("W15")
def test_no_room_is_made_by_what_has_an_error_and_is_not_done_with() -> None:
    """Under way, of unknown outcome, and scratch with a hint."""
    ledger = Ledger([record("old.json")], keys())
    for number, name in enumerate(("waits.json", "unknown.json", "scratch.txt"), 1):
        ledger.created(number, name)
    waits, _ = ledger.asks(1, 1, "waits", nothing_exists)
    unknown, _ = ledger.asks(2, 1, MARK, nothing_exists)
    assert waits is not None
    assert unknown is not None
    ledger.gave_up(waits)
    ledger.ended(unknown, TimedOut("unknown"))
    ledger.tell(unknown, TimedOut("unknown"))
    ledger.failed("scratch.txt", InvalidArgument("name it .json"))
    assert set(ledger.errors) == set(ledger.names)
    assert ledger.done_with([(1, 1), (2, 1), (3, 0)]) is None


@pytest.mark.promise("W5", "W7")
@pytest.mark.parametrize(
    ("known", "linked"),
    [
        ({"session_id": "session"}, True),
        ({"session_id": "session", "reported": False}, True),
        ({"session_id": "session", "forgotten": True}, False),
        ({"session_id": "session", "reported": False, "forgotten": True}, False),
        ({"session_id": "session", "destroyed": True}, False),
        ({"session_id": "gone"}, False),
        ({}, False),
    ],
)
def test_links_after_a_remount(known: dict[str, Any], linked: bool) -> None:
    ledger = Ledger([record(**known)], keys())
    ledger.show_links(lambda session_id: session_id == "session")
    assert ledger.links == ({"a": "session"} if linked else {})


@pytest.mark.promise("T12", "W5")
@pytest.mark.parametrize("known", [{}, {"forgotten": True}, {"destroyed": True}])
def test_links_to_what_another_mount_has_heard_of(known: dict[str, Any]) -> None:
    ledger = Ledger([record()], keys())
    ledger.heard(record(session_id="session", **known))
    assert ledger.links == ({} if known else {"a": "session"})
    assert ledger.records.session_ids() == {"session"}


def test_who_shows_a_link_is_told_of_each_change_of_it() -> None:
    """The kernel would go on showing what it has."""
    ledger, told = with_file(), list[str]()
    ledger.on_shown = told.append
    submission, _ = ledger.asks(1, 1, MARK, nothing_exists)
    assert submission is not None
    for session_id in ("one", "one", "two"):
        ledger.started(submission, session_id)
    assert told == [A, A]
    ledger.link_removed("a")
    assert told == [A, A, A]
    assert ledger.links == {}


MARKS = st.sampled_from(("x", "x", "x", "y"))
NAMES = st.sampled_from((A, A, B, B, "scratch"))


class Mounts:
    """Events in any order, as the mount sends them; beside it a disk and a server."""

    def __init__(self) -> None:
        self.pending: list[tuple[Submission, Record, object]] = []
        """What the server was asked for and has not answered, and by which mount."""
        self.new_key = keys()
        self.numbers = itertools.count(1)
        self.versions: dict[int, int] = {}
        self.content: dict[int, str] = {}
        """Fingerprints of what is in the files, by their numbers."""
        self.sessions: dict[str, str] = {}
        """Fingerprints, by the ids of sessions that exist."""
        self.ids = itertools.count(1)
        self.disk: dict[str, Record] = {}
        self.has: dict[tuple[str, str], str] = {}
        """Sessions that names were given for what they asked for, since they were last removed or replaced."""
        self.mount()

    def mount(self) -> None:
        self.ledger = Ledger(self.disk.values(), self.new_key)
        self.ledger.records.on_change = self.write
        self.generation = object()
        self.ledger.show_links(self.exists)

    def write(self, change: Change) -> None:
        if isinstance(change, Put):
            self.disk[change.record.key] = change.record
        else:
            del self.disk[change.key]

    def exists(self, session_id: str) -> bool:
        return session_id in self.sessions

    def create(self, name: str) -> None:
        if name not in self.ledger.names and name not in self.ledger.links:
            number = next(self.numbers)
            self.versions[number] = 0
            self.ledger.created(number, name)

    def ask(self, name: str, mark: str) -> None:
        """A whole request is written and closed."""
        self.create(name)
        number = self.ledger.names.get(name)
        if number is not None:
            self.versions[number] += 1
            self.content[number] = mark
            self.close(number)

    def close(self, number: int) -> None:
        ledger, version, mark = self.ledger, self.versions[number], self.content[number]
        name = ledger.name(number)
        assert name is not None
        if ledger.closing(number, version) is not Closing.JUDGE:
            assert not is_request(name)
            return
        under_way = (name, mark) in ledger.under_way()
        submission, begins = ledger.asks(number, version, mark, self.exists)
        assert not (begins and under_way)
        if submission is not None and begins:
            self.submit(submission, mark)

    def submit(self, submission: Submission, mark: str) -> None:
        """As the starter does."""
        ledger = self.ledger
        for each in ledger.records.same(submission.name, mark):
            if each.session_id is None:
                ledger.records.asked_again(each, submission.name)
                self.end(submission, TimedOut("unknown"))
                return
            if each.session_id in self.sessions:
                ledger.records.given_again(each, submission.name)
                ledger.started(submission, each.session_id)
                self.end(submission, None)
                return
            ledger.records.not_started(each.key)
        assert self.has.get((submission.name, mark)) not in self.sessions, "sent again for what it has"
        sent = Record(self.new_key(), submission.name, mark, False, "", tuple(self.sessions))
        self.write(Put(sent))
        ledger.records.asking(sent)
        self.pending.append((submission, sent, self.generation))

    def end(self, submission: Submission, error: ExportfsError | None) -> None:
        self.ledger.ended(submission, error)
        if error is not None:
            self.ledger.tell(submission, error)

    def outcome(self, which: int, answer: str, does: bool) -> None:
        if not self.pending:
            return
        submission, record, generation = self.pending.pop(which % len(self.pending))
        session_id = f"session {next(self.ids)}"
        if answer == "given" or (answer == "lost" and does):
            self.sessions[session_id] = record.fingerprint
        if generation is not self.generation:
            return  # the mount that asked is gone
        if answer == "given":
            self.ledger.records.answered(record.key, session_id)
            self.ledger.started(submission, session_id)
        elif answer == "refused":
            self.ledger.records.not_started(record.key)
        else:
            self.ledger.records.lost(record.key, 0.0)
        self.ledger.records.not_waited_for(record.key)
        self.end(submission, None if answer == "given" else InvalidArgument(answer))

    def listing(self, overdue: bool) -> None:
        """Lists show what there is; overdue is only what can turn up no more."""

        def turned_up(record: Record) -> str | None:
            taken = self.ledger.records.session_ids() | set(record.before)
            alike = (id for id, mark in self.sessions.items() if mark == record.fingerprint)
            return next((id for id in alike if id not in taken), None)

        self.ledger.records.watched_from(0.0, 0.0)
        found, _ = self.ledger.settle(turned_up, 1.0 if overdue else 0.0)
        assert set(found) <= set(self.sessions)

    def rename(self, old: str, new: str) -> None:
        if old in self.ledger.names and old != new and new not in self.ledger.links:
            number = self.ledger.names[old]
            if is_request(old) and is_request(new):
                self.lose(old)
            if self.ledger.submission(number) is not None or self.ledger.has_started(number):
                self.lose(new)  # it brings its own
            self.ledger.renamed(old, new)
            if is_request(new) and number in self.content:
                self.close(number)

    def lose(self, name: str) -> None:
        self.has = {key: session_id for key, session_id in self.has.items() if key[0] != name}

    def unlink(self, name: str) -> None:
        if name in self.ledger.names:
            self.lose(name)
            self.ledger.removed(name)
            assert link_name(name) not in self.ledger.links or not is_request(name)

    def unlink_link(self, name: str) -> None:
        if link_name(name) in self.ledger.links:
            if name not in self.ledger.names:
                self.lose(name)
            self.ledger.link_removed(link_name(name))

    def destroy(self, which: int) -> None:
        if self.sessions:
            session_id = sorted(self.sessions)[which % len(self.sessions)]
            del self.sessions[session_id]
            self.ledger.records.destroyed(session_id)

    def full(self) -> None:
        files = [(number, self.versions[number]) for number in self.ledger.names.values()]
        number = self.ledger.done_with(files)
        name = self.ledger.name(number) if number is not None else None
        if name is not None:
            self.ledger.made_room(name)

    def remount(self) -> None:
        """What is not on disk is forgotten; all that is waited for is lost."""
        self.mount()

    def on_disk_is_what_is_known(self) -> None:
        assert list(self.disk.values()) == self.ledger.records.all

    def who_was_given_a_session_is_remembered(self) -> None:
        for link, session_id in self.ledger.links.items():
            known = self.ledger.records.of_session(session_id)
            assert known is not None
            has = f"{link}.json", known.fingerprint
            # A file that was renamed brings its own submission along, which is not for what the name had.
            if has not in self.ledger.under_way():
                self.has[has] = session_id

    def what_is_shown_is_there(self) -> None:
        assert set(self.ledger.errors) <= set(self.ledger.names)
        assert set(self.ledger.links.values()) <= self.ledger.records.session_ids()

    def no_session_is_the_answer_to_two_requests(self) -> None:
        for session_id in self.ledger.records.session_ids():
            of_it = [each for each in self.ledger.records.all if each.session_id == session_id]
            assert len({each.fingerprint for each in of_it}) == 1

    def what_is_under_way_has_its_name(self) -> None:
        assert all(is_request(name) for name, _ in self.ledger.under_way())

    def check(self) -> None:
        self.on_disk_is_what_is_known()
        self.who_was_given_a_session_is_remembered()
        self.what_is_shown_is_there()
        self.no_session_is_the_answer_to_two_requests()
        self.what_is_under_way_has_its_name()


INDEX = st.integers(0, 3)
ANSWERS = st.sampled_from(("given", "given", "refused", "lost"))
RENAMES = st.sampled_from([(A, B), (B, A), (A, "scratch"), ("scratch", A), ("scratch", B)])
ASK = st.tuples(st.just("ask"), NAMES, MARKS)
RENAME = RENAMES.map(lambda names: ("rename", *names))
STEP = st.one_of(
    ASK,
    RENAME,
    st.tuples(st.just("outcome"), INDEX, ANSWERS, st.booleans()),
    st.tuples(st.just("listing"), st.booleans()),
    st.tuples(st.just("create"), NAMES),
    st.tuples(st.just("unlink"), NAMES),
    st.tuples(st.just("unlink_link"), st.sampled_from((A, B))),
    st.tuples(st.just("destroy"), INDEX),
    st.tuples(st.just("full")),
)
GIVEN = st.just(("outcome", 0, "given", True))
ACT = st.one_of(
    STEP.map(lambda step: [step]),
    RENAME.map(lambda step: [step]),
    st.tuples(ASK, GIVEN),
    st.tuples(ASK, RENAME, RENAME, GIVEN),
    st.just([("remount",), ("ask", A, "x"), ("ask", B, "x")]),
)
"""Single steps, and what belongs together: that is rarely drawn by chance."""
STEPS = st.lists(ACT, min_size=12, max_size=30).map(lambda acts: [step for act in acts for step in act])


@pytest.mark.promise("W3")
@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_events_in_any_order(steps: list[Any]) -> None:
    mounts = Mounts()
    for step, *rest in steps:
        getattr(mounts, step)(*rest)
        mounts.check()
