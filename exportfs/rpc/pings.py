"""When a connection for exact downloads pings, and what the answers say: pure, the time is handed in.

The line's round trip is measured when nothing else is on its way, every few seconds at most, and with no more than two
pings between answers: gRPC's servers end a connection for the next one.
"""

import math

PINGS_UNANSWERED = 2
"""Pings without anything of a call in between. So many before any call: the first meets a server that is still setting
up the connection, as slow as the machine. Servers end a connection at the third one too many; gRPC for Java counts from
the very first."""
PING_EVERY = 5.0
PINGS_AT_FIRST, PING_EVERY_AT_FIRST = 10, 0.1
"""Seconds between the first pings of a connection: until one of them met no other work."""


class Pings:
    """Of one connection, whose caller knows whether a call is on it. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._sent = 0
        self._sent_at = -math.inf
        self._pending: bytes | None = None
        self._unanswered = 0

    @property
    def beginning(self) -> bool:
        """Whether one ping may follow the other without a call."""
        return self._sent < PINGS_UNANSWERED

    def due(self, now: float) -> bool:
        """Whether the last one was long enough ago."""
        pause = PING_EVERY if self._sent > PINGS_AT_FIRST else PING_EVERY_AT_FIRST
        return now - self._sent_at >= pause

    def ping(self, now: float) -> bytes | None:
        """The payload of one that is sent now; None where none may be."""
        if self._pending is not None or self._unanswered >= PINGS_UNANSWERED:
            return None
        self._sent += 1
        self._unanswered += 1
        self._sent_at = now
        self._pending = self._sent.to_bytes(8, "big")
        return self._pending

    def heard(self) -> None:
        """Something came of a call."""
        self._unanswered = 0

    def answered(self, payload: bytes, now: float) -> float | None:
        """The round trip in seconds; None where this is not the ping that is waited for."""
        if payload != self._pending:
            return None
        self._pending = None
        return now - self._sent_at
