"""How long a connection may have been quiet and still be used.

Firewalls and NATs forget a connection that nothing passes through, many after a minute, and tell nobody: what is sent
over it then goes nowhere, which shows only once nothing has come for a third of the timeout. HTTP/2's pings would keep
it alive and are not ours to send (servers count them). A new connection costs three round trips, four over TLS of
gRPC's servers; so those for downloads are kept alive by TCP itself for a while, of which no server knows.
"""

import time

from exportfs.config import CONNECTION_QUIET

LONGEST = CONNECTION_QUIET
"""Seconds. More than there are between two listings while nobody looks, where these are no work."""
UNHEARD = 5.0
"""Seconds for which what was sent over a connection for downloads may stay without TCP's acknowledgement, which comes
from the other end's kernel whatever the server does; then the connection is broken (TCP_USER_TIMEOUT). Not over one
for calls: a request for an export whose answer is lost is in doubt, and the line may be back in a moment."""
PROBED_AFTER = 40.0
"""Seconds of silence after which TCP asks whether the other end is still there: two packets without data. With UNHEARD
less than LONGEST, so that who has not answered is known by then."""
KEPT = 600.0
"""Seconds for which a connection that no download uses is kept so: who pauses a film finds it ready, and at night no
radio is woken for it."""


def now() -> float:
    """Seconds; they pass while the machine sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def awake() -> float:
    """Seconds; they stand still while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def too_long(since: float) -> bool:
    """Whether a connection over which nothing came or went since then is not to be used any more."""
    return now() - since > LONGEST


class Heard:
    """When something last came over a connection for downloads, by `now`."""

    def __init__(self) -> None:
        self.again()

    def again(self) -> None:
        """Something came."""
        self.at = now()
        self._slept = self.at - awake()

    def too_long_ago(self, acknowledged: float) -> bool:
        """acknowledged: seconds since TCP last heard of the other end. The kernel does not count those in which the
        machine slept, and sent no probes: then it tells nothing."""
        return too_long(self.at) and (acknowledged > LONGEST or now() - awake() > self._slept + 1)
