"""What is known of requests: their files in new/, their names, fingerprints, submissions and sessions.

Pure: no clock, no I/O, no event loop. Events come in as calls, decisions go out as values; two hooks say what has to
be on disk (`Records.on_change`) and what new/ shows differently (`Ledger.on_shown`). See docs/design/new.md.

A *record* is a request that was sent, or is about to be; it is on disk before. Its states, and what happens to it:

| event                  | ASKING   | UNKNOWN                  | STARTED   | UNREPORTED | FORGOTTEN | DESTROYED |
| ---------------------- | -------- | ------------------------ | --------- | ---------- | --------- | --------- |
| the server's answer    | (d)      |                          |           |            |           |           |
| who asked hears of it  |          |                          |           | STARTED    |           |           |
| ... hears of an error  |          |                          | (d)       |            | (d)       |           |
| not sent, or refused   | dropped  |                          |           |            |           |           |
| nobody waits any more  | UNKNOWN  |                          |           |            |           |           |
| its session turns up   |          | UNREPORTED               |           |            |           |           |
| another mount has it   |          | as there                 |           |            |           |           |
| overdue                |          | dropped (c)              |           |            |           |           |
| the same, same name    | waits    | refused                  | its own   | STARTED    | new       | new       |
| the same, other name   | waits    | refused                  | new       | STARTED    | new       | new       |
| its file is removed    | (a)      | (a)                      | FORGOTTEN | (b)        |           |           |
| session destroyed      |          |                          | DESTROYED | DESTROYED  | DESTROYED |           |
| gone for a day         |          |                          | dropped   | dropped    | dropped   | dropped   |

UNKNOWN: the answer was lost, or this mount was killed while it waited. UNREPORTED: an error was said before the
session turned up, or nobody has heard of it yet, so the same request again is a retry, whatever its name. (a): a new
one is asked for only once it is known what became of it. (b): stays, for the same reason. (c): unless there is a
session that may be it. (d): UNREPORTED; while it is being written down another name waits, as for ASKING.

A *file* is judged once for each version of its content. What it then asks for is looked for in this order: its own
submission under way, what it or its name has started, a submission of its name under way. Otherwise one begins.
"""

from exportfs.sessions.ledger.files import Closing, Ledger, Submission
from exportfs.sessions.ledger.records import Change, Drop, Put, Record, Records, RecordState

__all__ = [
    "Change",
    "Closing",
    "Drop",
    "Ledger",
    "Put",
    "Record",
    "RecordState",
    "Records",
    "Submission",
]
