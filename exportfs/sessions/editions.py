"""Which export an id stands for. Ids are opaque, and a server that starts anew may count from the beginning: then
another export has the id, and perhaps the file ids and sizes, of one whose bytes are in our caches. Pure."""

from dataclasses import replace

from exportfs.model import Session, State

MOST_REMEMBERED = 1000
"""Sessions that are gone, and may come again."""


class Editions:
    """Counts the exports that an id has stood for: 0 is the first."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        """Of ids that were given again."""
        self._gone: dict[str, Session] = {}
        """What was heard last of those that went, the latest last."""

    def gone(self, session: Session) -> None:
        """It is no longer listed."""
        self._gone[session.id] = session
        if len(self._gone) > MOST_REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def of(self, session: Session, before: Session | None) -> int:
        """The edition of what is listed now. before: what its id stood for until now, None where it was not listed."""
        gone = self._gone.pop(session.id, None)
        if before is not None:
            again = _is_another(before, session)
        else:
            again = gone is not None and (
                _is_another(gone, session)
                or (gone.state.state is State.COMPLETED and gone.state.files != session.state.files)
            )
        if again:
            self._numbers[session.id] = self._numbers.get(session.id, 0) + 1
        return self._numbers.get(session.id, 0)


def _is_another(before: Session, now: Session) -> bool:
    if before.state.state is not State.COMPLETED:
        return False  # nothing of it could be read
    if now.state.state is not State.COMPLETED:
        return True
    # The agent may be filled in by the server, at any time.
    return replace(before.summary, agent="") != replace(now.summary, agent="")
