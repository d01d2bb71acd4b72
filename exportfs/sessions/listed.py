"""What a list says of a session, brought together with what is known of it already. Pure."""

from collections import Counter
from dataclasses import replace

from exportfs.model import Session, State
from exportfs.naming import session_name


def as_written(sent: Session, listed: Session) -> Session:
    """What was sent from here, with its options as the list has them: a server may write a time otherwise and fill in
    what was left to it. Another export under the id has another name, whatever its kind, which may be filled in."""
    if _name_but_for_kind(sent) != _name_but_for_kind(listed):
        return sent
    return replace(sent, options=listed.options, summary=listed.summary)


def _name_but_for_kind(session: Session) -> str:
    return session_name(session.id, replace(session.summary, kind=""))


def no_step_back(session: Session, before: Session) -> Session:
    """What has completed does not run again: a list that says so lags behind a question's answer. Another export
    under its id, of a server that started anew, may."""
    if before.state.state is not State.COMPLETED or session.state.state not in (State.NONE, State.RUNNING):
        return session
    if session.options != before.options:
        return session
    return replace(session, state=before.state)


def in_known_order(session: Session, known: Session) -> Session:
    """The same results in another order keep the one they had: of two that are called the same, `a.mp4` and `a~2.mp4`
    must not change places while somebody copies them."""
    now, before = session.state.files, known.state.files
    if now == before or len(now) != len(before) or Counter(now) != Counter(before):
        return session
    return replace(session, state=replace(session.state, files=before))
