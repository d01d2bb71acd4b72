"""Before an export: whether the archive has what is asked for."""

from datetime import timedelta
from pathlib import Path

from exportfs.cli.failures import Failure, complain
from exportfs.cli.params.times import form
from exportfs.client.cameras import Check, Interval, check_footage
from exportfs.client.request import Wish
from exportfs.errors import NotFound, Unsupported

GAPS_SHOWN = 3
SLACK = timedelta(seconds=2)
"""Gaps up to this are not worth a word: between two key frames."""
PICTURE_SLACK = timedelta(seconds=10)
"""A picture is of the key frame before its moment; cameras that save on them make one every 10 s."""


def check_wish(mountpoint: Path, wish: Wish) -> None:
    """Says which footage of an archive export is missing. Raises Failure where there is none at all, with the nearest;
    InvalidArgument for a name that means several cameras.

    Where it cannot be told (no right, no such service, an archive that is not the preferred one) the server decides.
    """
    if wish.live:
        return
    start, end = wish.interval()
    picture = end is None
    if end is None:
        start, end = start - PICTURE_SLACK, start + PICTURE_SLACK
    for name in wish.cameras:
        try:
            check = check_footage(mountpoint, name, start, end)
        except (NotFound, Unsupported, OSError):
            continue  # the mount refuses what it does not know, with the nearest names
        if check is None or (wish.archive is not None and not _is_archive(check, wish.archive)):
            continue
        if check.covered <= 0:
            what = "moment" if picture else "interval"
            raise Failure(
                f"{check.camera.label} has no footage of this {what} in {check.archive}{_nearest(check)}; "
                "--force exports all the same"
            )
        if picture:
            continue
        gaps = [gap for gap in check.gaps if gap.length > SLACK]
        if gaps:
            shown = ", ".join(_span(gap) for gap in gaps[:GAPS_SHOWN])
            more = f" and {len(gaps) - GAPS_SHOWN} more" if len(gaps) > GAPS_SHOWN else ""
            complain(f"{check.camera.label}: the archive has no footage of {shown}{more}")


def _is_archive(check: Check, archive: str) -> bool:
    """`check.archive` is a name with the access point in brackets."""
    name, _, point = check.archive.removesuffix(")").rpartition(" (")
    return archive.casefold() in (name.casefold(), point.casefold())


def _nearest(check: Check) -> str:
    parts = []
    if check.before is not None:
        parts.append(f"the nearest before ends {form(check.before.end.astimezone())}")
    if check.after is not None:
        parts.append(f"the nearest after begins {form(check.after.begin.astimezone())}")
    return f": {', '.join(parts)}" if parts else ": there is none at all"


def _span(gap: Interval) -> str:
    return f"{form(gap.begin.astimezone())} to {form(gap.end.astimezone())}"
