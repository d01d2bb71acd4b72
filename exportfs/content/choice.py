"""What serves a read that finds no block: a download under way, or a new one of which kind. Pure; tested as tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from exportfs.content.read_ahead import Plan
from exportfs.content.tuning import (
    AHEAD_MOST_NEAR,
    AHEAD_NEAR,
    AHEAD_WINDOWS,
    REACH_EXACT,
    REACH_WIDE,
    SWITCH,
)


@dataclass(frozen=True, slots=True)
class Underway:
    """A download of the file, queued or running. Offsets and sizes in bytes."""

    offset: int
    """Of the first byte that has not arrived yet."""
    limit: int
    """Up to where it may bring them."""
    chunk_size: int
    wide: bool = False
    stop: bool = False
    """Whether it ends at its limit for good."""
    within: int = REACH_WIDE
    """Bytes that it brings in the time for which another call would not be worth it."""


@dataclass(frozen=True, slots=True)
class Means:
    """What may be used at the moment."""

    fast: bool
    """Whether wide streams pay on this line."""
    reach: int
    """Bytes that are sooner read through by an exact download than asked for anew."""
    exact_block: int
    """Bytes in a block of sequential reading by exact downloads."""
    wide_block: int
    """Bytes in a block of a wide one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Serve the read by `underway` (its place in the sequence given); where that is None, by a new download."""

    underway: int | None
    wide: bool = False
    sequential: bool = False
    """Whether the new download has blocks of sequential reading."""
    stop: bool = False
    """Whether the new download ends after this read."""


def choose(
    offset: int, size: int, plan: Plan, underway: Sequence[Underway], means: Means, *, small: bool = False
) -> Choice:
    """For the byte at `offset` of a file of `size` bytes. small: after failures, the smallest blocks."""
    sequential = plan.proven and not small
    begins = (download.offset for download in underway if not download.stop and download.offset > offset)
    wide = sequential and means.fast and min(begins, default=size) - offset > REACH_EXACT
    best: int | None = None
    for place, download in enumerate(underway):
        if not _usable(offset, download, wide, sequential, means):
            continue
        if best is None or download.offset > underway[best].offset:
            best = place
    if best is not None:
        return Choice(best)
    return Choice(None, wide, sequential, stop=not wide and not sequential and not plan.lingering)


def _usable(offset: int, download: Underway, wide: bool, sequential: bool, means: Means) -> bool:
    gap, allowed = offset - download.offset, download.limit - download.offset
    if gap < 0:
        return False
    if download.stop:
        return gap < allowed
    if download.wide:
        # On a line that has become slow it brings what it was allowed, and no more.
        return gap < allowed or (means.fast and gap <= min(REACH_WIDE, download.within))
    if gap < allowed:
        return True
    if wide:
        # What lies before a wide one's next block, which is large, would come twice.
        taken_over = offset % means.wide_block == 0
    else:
        larger = outgrows(download.chunk_size, means.exact_block)
        taken_over = sequential and larger and offset % means.exact_block == 0
    if taken_over:
        return False
    # What it is to bring anyway is not a detour: only what lies between that and this read.
    return gap - max(0, allowed) <= means.reach


def outgrows(chunk_size: int, exact_block: int) -> bool:
    """Whether an exact download with blocks of `chunk_size` is to be replaced by one with larger ones."""
    return exact_block >= SWITCH * chunk_size


def ahead(
    plan: Plan, *, wide: bool, near: bool, window: int, round_trip: int, chunk_size: int, most: int
) -> int:
    """Bytes beyond the end of a read that are to be on their way or here. near: whether the server is. round_trip: what
    the line to a distant one carries in that time. most: what a reader may have of the cache."""
    if not plan.proven:
        # The line would rest until the kernel has had this and asks for more.
        return min(plan.run, round_trip, most) if plan.bulk and not wide else 0
    if wide and near:
        return min(max(plan.run // AHEAD_NEAR, min(plan.run, chunk_size)), AHEAD_MOST_NEAR, most)
    if wide:
        return min(plan.run, most)
    return min(max(int(AHEAD_WINDOWS * window), chunk_size), plan.run, most)
