"""Every constant of the reading path, each with its reason and what was measured for it.

Measured on two cores over loopback (`make bench`) and over thin lines in a network namespace (`bench --line`); the
tables are in docs/performance.md. "The line" is the narrowest part of the way between the server and us.
"""

from exportfs.config import KIB, MIB

# --- The line: how much may be on its way (content/line.py) -----------------------------------------------------

WINDOW_LEAST = (24 * KIB, 48 * KIB)
"""Bytes on their way to one reader however short the line: they bridge our own pauses, and are what a jump waits for at
most. With 24 KiB the line of 10 Mbit/s was filled to 0.87 beside eight others' work on two cores, and to 0.99 beside
less. As many as the line carries in BRIDGED, within these bounds: at 2 Mbit/s 24 KiB are 98 ms."""
BRIDGED = 0.04
"""Seconds of our own pauses that a line is to be filled over."""
WINDOW_FIRST, WINDOW_FIRST_FAR = 64 * KIB, 256 * KIB
"""Bytes on their way as long as nothing is known of the line but the round trip: near, and farther than NEAR, where the
kernel asks for 256 KiB at once of a file that is read in sequence. With 64 KiB the first half of that took two round
trips, with 128 the second half waited for the first, which cost 44 ms at 50 Mbit/s and 40 ms."""
FIRST_SECONDS = 0.25
"""And two round trips: so much of the line such a window is at most, once its rate is known. Otherwise downloads that
end before a delay has been measured, as where many take turns, each leave 256 KiB on the way: six readers with four
downloads had 0.2 of a line of 1 Mbit/s and 40 ms in place of 0.8."""
WINDOW_MOST = 8 * MIB
"""Bytes; 1.6 Gbit/s at 40 ms. Memory: they may all have arrived before any is taken."""
QUEUE_SECONDS, QUEUE_SECONDS_FAR = 0.010, 0.004
"""Seconds of data that may wait in the line's queue: what a jump waits for beyond the round trip. Farther than NEAR
less will do, as long as our thread does not wait for a core: at 50 Mbit/s and 40 ms a jump takes 58 ms in place of 63,
and the line is as full."""
BUSY_OVER = 0.25
"""Seconds, at least, over which BUSY_SHARE tells that it does not hold, for RATE_MEMORY: with pauses of 10 ms, half of
the time, the line would be filled to 0.63 in place of 0.9. At 50 Mbit/s the share was 0.44 to 0.65 with nothing beside
us as long as each packet woke the thread, and is 0.32 since they gather."""
ADJUST_AFTER = 1.5
"""Delays after which the window is adjusted to the least of them, or at once where it may double. By the first one
alone, two players and a copy at 50 Mbit/s and 40 ms left the copy 0.49 of the line in place of 0.67, and the window at
139 KiB, from where a stream took half a second to fill the line again."""
QUEUE_SHARE = 1 / 8
"""And this share of the round trip, before growth by doubling ends."""
QUEUE_NOTICED = 0.004
"""Seconds: a delay less than this above the round trip says nothing, our own thread may have been late."""
GATHER = 0.001
"""Seconds for which what comes gathers before it is taken, as long as four times as much is on its way (epoll makes up
to twice of it): each packet by itself costs 0.1 to 0.2 ms of Python. At 50 Mbit/s and 40 ms the mount takes 0.32 of a
core in place of 0.62, at 100 Mbit/s 0.39 in place of 0.95, and a jump 57 ms in place of 66, since the queue can be
short. 2 ms save another tenth, and the queue of QUEUE_SECONDS_FAR no longer bridges them."""
GATHER_LEAST = 4 * KIB
"""Bytes that come in that time, three packets: with less there is nothing to gather."""
RATE_MEMORY = 5.0
"""Seconds for which the highest measured rate counts: a reader that pauses makes low samples, no slow line."""
RATE_SAMPLE = 64 * KIB
"""Bytes that a sample of the rate has at least: the first 16 to 32 KiB pass many shapers at once."""
HINT_SAMPLE = 16 * KIB
"""Bytes from which on a slow arrival is a hint, as long as there is no sample."""
SAMPLE_SECONDS = 0.02
"""Seconds, or a round trip where that is longer, of a sample within a busy time; shorter ones measure our own
scheduling: the end of a busy time once made 200 MB/s of 50 Mbit/s, and wide streams of that."""
FAST = 24 * MIB
"""Bytes a second from which on a line counts as fast. There wide streams pay: they take the mount half of the CPU
of exact downloads, 0.8 for 1.6 seconds a GiB, and their window of 4 MiB is a sixth of a second of it. 100 Mbit/s are
half of it."""
FAST_AFTER = 1024 * KIB
"""Bytes in a row that came so fast: bursts of shapers are smaller, and so is what has gathered while this thread waited
for a core. With 512 KiB pauses of 10 to 20 ms, half of the time, made a fast line of 100 Mbit/s."""
BUSY_SHARE = 0.6
"""Share of the time in which our thread works, or waits for a core, from which on a low rate says nothing of the line:
it is we who are slow, and exact downloads, the dearer way, would only make it worse."""
BUSY_RATE = 4 * MIB
"""Bytes a second below which a near line is thin however busy we are: nothing but small windows is right for it.
Farther away that is SLOW: at 50 Mbit/s and 40 ms a new mount, busy with itself, lost a second by wide streams."""
SLOW = FAST // 2
"""Bytes a second below which wide streams are no longer used."""
SLOW_SECONDS = 0.5
"""Seconds of waiting for data over which that is judged."""
THIN_SECONDS = 60.0
"""Seconds for which a line that wide streams have found slow is not taken for fast just because we are busy: each time
up to 4 MiB are sent for nothing. Without this 1.07 bytes were sent for each byte of 300 MB at 100 Mbit/s."""
NEAR = 0.002
"""Seconds of round trip: a server nearer than this is taken for one on the local network until measured otherwise."""
NEAR_AT_FIRST, NEAR_PROVEN_BY = 0.006, 4
"""The same as long as fewer round trips than this have been measured: pings are answered by our own thread in the end,
and the first ones meet a mount that has just begun. A near server that counted as distant let one first file in four
be read at half the speed, on two slow cores. What our thread worked, or waited for a core, meanwhile is not counted,
down to what the kernel measured: beside the load of three cores that was still 6 of 30."""
NEAR_HINT = 4 * MIB
"""Bytes a second: a first arrival slower than this speaks against it. 1 MiB of read-ahead is a quarter of a second
then."""

# --- Sequential reading (content/read_ahead.py) -----------------------------------------------------------------

PROVEN = 1 * MIB
"""Bytes read in sequence beyond which reading is sequential. Thumbnailers read 0.35 to 0.8 MB a file."""
KERNEL_WINDOWS = 2
"""What is seen are the kernel's requests, and it has as many windows of read-ahead under way: they are no reading."""
LARGE = 512 * KIB
"""Bytes of one read from which on it proves it by itself on a fast line, at the beginning of a file or after PROVEN of
it: `cp`, rsync and `dd` begin so. Of thumbnailers' small reads the kernel makes 128, 256 and 512 KiB. Files of 30 MB on
loopback took 95 ms each in place of 59 as long as their first 3 MiB came in blocks of 16 KiB."""
BULK = 128 * KIB
"""Bytes of a first read, of a file's first byte, from which on a file is read in bulk: the kernel makes that of 64 KiB
or more, as copies read, and 64 KiB of what players, thumbnailers and looks at a header begin with. From a distant
server as much again comes with it, up to what the line carries in a round trip, and so on: it would rest otherwise
until the kernel has the first part and asks for the next. At 50 Mbit/s and 40 ms a file of 400 KB takes 134 ms in
place of 176, one of 3.2 MB 605 in place of 707, and no more is sent."""
GUESSED = 384 * KIB
"""Bytes of a read, twice as long as the one before it, from which on it is the kernel's guess. Less is soon there."""
GUESS_SECONDS = 0.1
"""Seconds for which such a read of a near server is not asked for, as long as nobody comes to its first byte. That
shows: the kernel asks for its next window then. Of the 917 KB that it asks for of each head, thumbnailers read 290;
they decode for 10 ms, four at once on two cores for up to 40, and go to another place."""
GUESS_AMONG = 8
"""Reads under way, such ones included, up to which one waits: with more the kernel may not ask for its next window
(fuse's congestion_threshold is 9), and has room for 12 in all."""
NEAR_READ = 256 * KIB
"""Bytes: until then a read within this distance of the expected offset continues the sequence; the kernel may send its
read-ahead out of order."""
NEAR_PROVEN = 512 * KIB
"""Bytes: the same once it is proven; players skip small boxes."""
REORDER = 16 * MIB
"""Bytes: reads this close to one another may be of one sequence that comes out of order, once that has shown: a client
of NFS or SMB has up to a dozen requests of 1 MiB under way, and its server gives them to as many threads."""
REORDER_RUNS = 32
"""So many places are remembered for that."""
REORDERED = 3
"""Gaps that have to be filled first: who seeks back a little and plays on may fill one."""
AHEAD_MOST, AHEAD_MOST_NEAR = 16 * MIB, 4 * MIB
"""Bytes ahead of a reader on a fast line, never more than it has read; windows that grew faster brought nothing. Where
the server is near the next block is soon there, and what lies long in memory has left the processor's caches by the
time it is read: with 16 MiB `dd` takes a fourteenth longer."""
AHEAD_NEAR = 4
"""Where the server is near, one part of so many of what has been read, a block at least: the kernel has two requests of
its own under way. Programs that look at the first 3 to 5 MB for what is in a file (ffmpeg, of Matroska and AVI) then
cost 2 to 6 MB less, and a stream comes as fast."""
AHEAD_WINDOWS = 1.5
"""Bytes ahead of a reader on other lines, in windows of the line: one on its way, and what is being read."""

# --- What serves a read (content/choice.py) ---------------------------------------------------------------------

REACH_EXACT = 192 * KIB
REACH_WIDE = 4 * MIB
"""Bytes: a download that will be there after reading through no more than this is not worth another call."""
REACH_SECONDS = 2.0
"""And no further than a wide one gets in this time."""
CALL_SECONDS = 0.002
"""Seconds that another call costs beside the round trip."""
SMALL_AFTER = 2
"""After so many failures in a row blocks are small: a connection that breaks often still brings a few."""

SLOW_BLOCK = 1.0
"""Seconds after which a block that arrived at last is worth a line at level debug."""

# --- Blocks (content/block_sizes.py) ----------------------------------------------------------------------------

LADDER = (1024 * KIB, 512 * KIB, 256 * KIB, 64 * KIB, 32 * KIB, 16 * KIB)
"""Bytes. 2 MiB measured no better than 1 MiB; more than 4 MiB would need every client's leave. Recommended by the
vendor: 16 to 64 KiB."""
SEEK = 16 * KIB
"""Bytes of a first read's block. 64 KiB at any offset are 68 KiB of pages: 80 KiB in blocks of 16, 96 to 128 in 32."""
SEEK_FAST = 32 * KIB
"""The same on a fast line, where a message costs more than its bytes: three messages in place of five."""
EXACT_MOST = 256 * KIB
"""Bytes of the largest block of exact streams."""
BLOCK_SECONDS = 0.1
"""Seconds of the line in a block of sequential reading: so often something arrives."""
WRAPPING = 24
"""Bytes around a block on the wire, at most: a window without them costs a read another round trip."""
SWITCH = 4
"""A running stream is replaced by one of larger blocks when they are this many times as large."""
WRONG_BEFORE_DOWN = 2
"""A block of the wrong length can be a fault; twice in a row at one size it is the size."""
REFUSED_AFTER = 2
"""So many times a size has to fail where another works, before it is refused for good: a server in trouble may refuse
anything once. One refusal that names the size is proof enough."""
BLOCK_SLOW = 2.0
"""Seconds: a block that takes longer is too large for the line."""
BLOCK_QUICK = 0.2
"""Seconds: so many blocks in a row, each within this, and larger ones are tried again."""
QUICK_BEFORE_UP = 8

# --- Who may download (content/scheduler.py) --------------------------------------------------------------------

FAIR_SHARE = 32 * MIB
"""Bytes that a download brings before it has to make room for one that waits."""
TIME_SLICE = 2.0
"""Seconds from its first block on after which it has to do so however little it has brought: on a slow line a fair
share takes too long. What was on the way for the one before comes first, and counted from the call it was often over
with that block: at 0.5 Mbit/s and 40 ms six readers with four downloads had 0.35 of the line in place of 0.75."""
CANCEL_GRACE = 0.01
"""Seconds, and two round trips: until then a server may not have noticed that a download was cancelled, and would count
one too many."""
STUCK_SECONDS = 10.0
"""A download that nobody waits for and that brings nothing for this long holds a slot for nothing; sooner where reads
time out earlier, since others wait for the slot."""
SILENT_SECONDS = 0.5
"""And twice the least that one of the last FIRSTS first blocks took, the server's own time: so long nothing comes
though somebody waits, before calls that rest make way. They hold a place of a server's that serves few at once and lets
others queue, as thread pools do, or a proxy's. Without this a read took 10 s, a third of the timeout, through Apache
and HAProxy and from a server with one thread; with it 1 to 3 s."""
FIRSTS = 8
UNANSWERED_IDLE, UNANSWERED_BUSY, UNANSWERED_AGAIN = 0.2, 0.7, 0.25
"""Of the time that a call's first try has: from then on idle downloads make way for it, or a busy one that has had its
share and is asked for anew; and from then to the next time. On a server of four threads four players, each idle but for
moments, let no listing and no keep-alive poll through."""
FULL_SECONDS = 10.0
"""Seconds for which no more are started than the server bears, before one more is tried."""
IDLE_SECONDS = 3.0
"""An idle download holds a slot and a place among the server's; given up after this, well within 5 s."""
REAP_EVERY = 1.0
"""Seconds between looks for downloads that nobody uses."""
SERVED_HALVES = 2.0
"""Seconds in which half of what a file was served is forgotten: who had least lately comes first on the line."""

# --- What is kept (content/cache.py) ----------------------------------------------------------------------------

SMALL = 64 * KIB
"""Bytes; blocks up to this size count as small."""
SMALL_SHARE = 1 / 8
"""Of the cache, for small blocks."""
BEHIND = 16 * MIB
"""Bytes of large blocks that are kept after they have been read through; an eighth of the cache where that is less."""

# --- Memory beside the cache (content/budget.py) ----------------------------------------------------------------

BESIDE = 8 * MIB
"""Bytes for what wide downloads hold that is not part of the cache. Of the 96 that are promised Python and gRPC are 60,
and gaps in the heap up to 20. With 12 a cache of 16 MiB and eight readers once took 108 MiB of 112, else 98."""
BESIDE_SHARE = 1 / 4
"""Of the cache, which gives up to as much as this to them."""
MANY_READERS_BLOCK = 256 * KIB
"""Bytes: blocks are no smaller for many readers. With 64 KiB 32 of one file came to a quarter of the speed."""
STREAMS_LEAST = 4
"""Wide downloads at a time that there is always room for: with 3, 2 and 1 eight readers bring 0.96, 0.89 and 0.62 as
much."""
BLOCKS_UNDERWAY = 1
"""Blocks of a download that are neither in its window nor in the cache: the one that comes."""

# --- Failures (content/reader.py) -------------------------------------------------------------------------------

FAIL_FAST = 1.0
"""Seconds for which a read that waited in vain has its answer again at once. Where a read-ahead fails the kernel asks
once more, for the page that is wanted alone: its caller would wait twice as long as anybody may."""
FAILURES = 16
"""Reads of one open file whose answers are remembered for that: the kernel reads ahead in several requests, and they
may fail in the same moment."""

REFUSED_WITHIN = 4
"""Part of a stall within which a read may be refused: who waits for it nevertheless waits for little more than one
timeout in all."""
REFUSED = 64
"""Requests of the kernel's read-ahead that were refused, per open file, which are remembered: what of them is asked for
again somebody waits for."""

# --- The kernel (fuse/session.py asks content/line.py) ----------------------------------------------------------

KERNEL_AHEAD = (1024 * KIB, 128 * KIB, 32 * KIB)
"""Bytes that the kernel reads ahead: on a fast line (half the CPU of sequential reading), by default, and where 128 KiB
take longer than a third of a second."""
KERNEL_AHEAD_NEAR = 256 * KIB
"""The same where the server is near and nothing else is known: what the kernel asks for it has to wait for as a whole,
and a file keeps what is set when it is opened. With 1 MiB a near line of 2 Mbit/s was filled to half in the first 5 s,
and 1 MiB after a jump took 10.5 s in place of 4.2. With 256 KiB `dd` takes a third longer on loopback."""
FIRST_SAMPLE = 48 * KIB
"""Bytes of a first arrival that is to tell so, block by block: more than the 16 to 32 KiB that pass many shapers at
once."""
SAMPLE_FIRST, SAMPLE_UNMEASURED = 0.03, 0.008
"""Seconds that opening a file waits for its first block, where nothing has come yet: of a server that has proved near,
and of one that may be anywhere. A thin line shows long before, bit by bit; who sends nothing waits for a core, or
thinks. With 8 ms for both one first file in seven was taken for thin on loopback, on slow cores, and read at half the
speed."""
SAMPLE_REST = 0.04
"""And then for the rest, for what comes seldom and in large pieces: over a thin line behind a tunnel. With 5 ms, and a
first block that came slowly taken for a hint, it was one first file in three; 20 ms were too short for slow cores."""
TRICKLE, TRICKLE_SECONDS = 16 * KIB, 0.0015
"""What comes over a thin line comes bit by bit, and less than so many bytes in so many seconds, 85 Mbit/s, below which
128 KiB of the kernel's read-ahead are enough. A server that waits for a core sends nothing, then so many at once."""
TRICKLE_NOTICED = 256
"""Bytes: less than that at a time is an answer to a ping and the like."""
SAMPLES = 3
"""Files that are opened so: a server that does not give what can be measured is not asked for ever."""
PREFERRED_FAST, PREFERRED = 128 * KIB, 4 * KIB
"""Bytes of st_blksize. Programs take it as their buffer (Python, stdio), and read that much where they want a few
bytes; coreutils take at least 128 KiB whatever it says."""
