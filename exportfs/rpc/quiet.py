"""How long a connection may have been quiet and still be used.

Firewalls and NATs forget a connection that nothing passes through, many after a minute, and tell nobody: what is sent
over it then goes nowhere, which shows only once nothing has come for a third of the timeout. Pings would keep it alive
and are not ours to send (servers count them). A new connection costs two or three round trips.
"""

import time

from exportfs.config import CONNECTION_QUIET

LONGEST = CONNECTION_QUIET
"""Seconds. More than there are between two listings while nobody looks, where these are no work."""
UNHEARD = 5.0
"""Seconds for which what was sent over a connection for downloads may stay without TCP's acknowledgement, which comes
from the other end's kernel whatever the server does; then the connection is broken (TCP_USER_TIMEOUT). Not over one
for calls: a request for an export whose answer is lost is in doubt, and the line may be back in a moment."""


def now() -> float:
    """Seconds; they pass while the machine sleeps, too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def too_long(since: float) -> bool:
    """Whether a connection over which nothing came or went since then is not to be used any more."""
    return now() - since > LONGEST
