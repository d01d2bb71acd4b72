"""From what is wanted to a request: the protobuf JSON form of `Options`."""

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from exportfs.errors import InvalidArgument
from exportfs.timestamps import with_offset

STREAMS = {"mp4": "MP4", "mkv": "MKV", "avi": "AVI", "exe": "EXE", "video": "DEFAULT"}
SNAPSHOTS = {"jpg": "JPEG", "pdf": "PDF", "image": "DEFAULT"}

QUALITIES = {
    "best": "C_BEST_QUALITY",
    "fine": "C_FINE_QUALITY",
    "good": "C_GOOD_QUALITY",
    "normal": "C_NORMAL",
    "medium": "C_MEDIUM",
    "small": "C_SMALL_SIZE",
    "tiny": "C_TINY_SIZE",
    "best-size": "C_BEST_SIZE",
}

_ILLEGAL = re.compile(r'[<>:"|?*/\\\s\x00-\x1f\x7f]')
_LONGEST_NAME = 255 - len(".json.error")
_SUFFIX_ROOM = 64


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted. Times are aware, durations in seconds, sizes in bytes."""

    cameras: tuple[str, ...]
    format: str
    archive: str | None = None
    start: datetime | None = None
    end: datetime | None = None
    duration: float | None = None
    quality: str | None = None
    comment: str | None = None
    mask: bool | None = None
    split: int | None = None
    agent: str | None = None
    discrete: bool = False

    @property
    def stream(self) -> bool:
        return self.format in STREAMS

    @property
    def live(self) -> bool:
        return self.start is None and self.end is None

    def interval(self) -> tuple[datetime, datetime | None]:
        """Start and end in the archive; no end for a picture. InvalidArgument where they do not fit."""
        start, end = self.start, self.end
        if not self.stream:
            if start is None or end is not None or self.duration is not None:
                raise InvalidArgument("a picture is of one moment: give --from alone")
            return start, None
        if start and end and self.duration is not None:
            raise InvalidArgument("--from, --to and --duration are one too many: give two of them")
        span = timedelta(seconds=self.duration or 0)
        if start is None and end is not None:
            start = end - span
        elif end is None and start is not None:
            end = start + span
        assert start is not None
        assert end is not None
        if self.duration is None and (self.start is None or self.end is None):
            raise InvalidArgument(
                "a video from the archive needs an interval: give two of --from, --to and --duration"
            )
        if end <= start:
            raise InvalidArgument(
                f"the end, {with_offset(end)}, is not after the start, {with_offset(start)}: "
                "correct --from, --to or --duration"
            )
        return start, end


def build(wish: Wish) -> dict[str, Any]:
    """The request. InvalidArgument where the wishes do not go together."""
    if not wish.stream:
        for value, option in ((wish.quality, "--quality"), (wish.split, "--split")):
            if value is not None:
                raise InvalidArgument(f"{option} is for videos, not for {wish.format}: leave it out")
    for access_point in (*wish.cameras, wish.archive, wish.agent):
        if access_point is not None and (not access_point or not access_point.isprintable()):
            raise InvalidArgument(
                f"invalid name or access point {access_point!r}: give one line of text, as in cameras/"
            )
    if wish.split is not None and wish.split < 1:
        raise InvalidArgument("--split must be more than 0, as in 500M")
    if wish.comment is not None and not wish.comment.isascii():
        try:
            wish.comment.encode()
        except UnicodeEncodeError:
            raise InvalidArgument("--comment is not valid UTF-8: check the terminal's encoding") from None
    request: dict[str, Any] = _live(wish) if wish.live else _archive(wish)
    if wish.stream:
        stream: dict[str, Any] = {"format": STREAMS[wish.format]}
        if wish.quality is not None:
            stream["settings"] = [{"videoQuality": QUALITIES[wish.quality]}]
        request["stream"] = stream
    else:
        request["snapshot"] = {"format": SNAPSHOTS[wish.format]}
    settings: list[dict[str, Any]] = []
    if wish.comment is not None:
        settings.append({"comment": wish.comment})
    if wish.mask is not None:
        settings.append({"applyMask": wish.mask})
    if settings:
        request["settings"] = settings
    if wish.split is not None:
        # A string, as protobuf's JSON has 64-bit numbers.
        request["maxFileSize"] = str(wish.split)
    if wish.agent is not None:
        request["exportAgentAccessPoint"] = wish.agent
    return request


def request_text(wish: Wish) -> str:
    """The text of the request file. Raises InvalidArgument, as `build` does."""
    return json.dumps(build(wish), indent=2, ensure_ascii=False) + "\n"


def _live(wish: Wish) -> dict[str, Any]:
    if wish.archive is not None:
        raise InvalidArgument(
            "--archive needs --from: without it the export is live; give the interval, or leave --archive out"
        )
    live: dict[str, Any] = {"sources": [{"origin": camera} for camera in wish.cameras]}
    if wish.duration is not None:
        if not wish.stream:
            raise InvalidArgument(
                "a live picture has no duration: leave --duration out, or choose a video format"
            )
        if wish.duration <= 0:
            raise InvalidArgument("--duration must be more than 0, as in 10m")
        live["duration"] = f"{wish.duration:.9f}".rstrip("0").rstrip(".") + "s"
    if wish.discrete:
        live["discrete"] = True
    return {"live": live}


def _archive(wish: Wish) -> dict[str, Any]:
    start, end = wish.interval()
    storages = {"storages": [wish.archive]} if wish.archive is not None else {}
    archive: dict[str, Any] = {
        "sources": [{"origin": camera, **storages} for camera in wish.cameras],
        "startTimestamp": with_offset(start),
    }
    if end is not None:
        archive["endTimestamp"] = with_offset(end)
    if wish.discrete:
        archive["discrete"] = True
    return {"archive": archive}


def default_name(wish: Wish, suffix: str) -> str:
    """`<camera>_<start>_<suffix>` for a request file: readable, and fit for any filesystem."""
    parts = [part for part in wish.cameras[0].removeprefix("hosts/").split("/") if part]
    camera = ".".join(parts[:-1] or parts)
    camera = _ILLEGAL.sub("_", camera).strip(". ") or "camera"
    start = "live" if wish.live else wish.interval()[0].astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    camera = camera.encode()[: _LONGEST_NAME - _SUFFIX_ROOM].decode(errors="ignore")
    return f"{camera}_{start}_{suffix}"


def check_name(name: str) -> str:
    """The stem of a request file. InvalidArgument where `new/` could not take it as one."""
    stem = name.removesuffix(".json")
    if not stem or stem.startswith(".") or "/" in stem or not stem.isprintable():
        raise InvalidArgument(
            f"invalid --name {name!r}: give a plain file name that does not begin with a dot"
        )
    if len(stem.encode(errors="surrogateescape")) > _LONGEST_NAME:
        raise InvalidArgument(f"--name is too long: at most {_LONGEST_NAME} bytes")
    return stem
