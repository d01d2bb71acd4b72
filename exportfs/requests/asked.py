"""What of an archive's footage Options ask for, whoever made them."""

import math
from collections.abc import Iterable

from exportfs.coverage import Asked
from exportfs.requests.summary import read_options
from exportfs.wire import primitive

USUAL_RATE = 10.0
"""Frames a second, where a time lapse does not say: few, so that its frames lie far apart."""


def asked_of(options: bytes) -> Asked | None:
    """None for a live export. Raises Corrupt where the bytes are no Options."""
    message = read_options(options)
    if message.WhichOneof("mode") != "archive":
        return None
    archive = message.archive
    stream = message.WhichOneof("output_type") != "snapshot"
    by_source = list({_ranges(source.timeline_mask) for source in archive.sources})
    fps, speed = 0.0, 1.0
    for setting in message.stream.settings:
        if setting.WhichOneof("setting") == "time_lapse":
            # 0 is the original, in both.
            fps, speed = _within(setting.time_lapse.fps, 0.0), _within(setting.time_lapse.speed, 1.0)
    step = speed / (fps or USUAL_RATE) if fps > 0 or speed > 1 else 0.0
    return Asked(
        start=archive.start_timestamp,
        end=archive.end_timestamp if stream else "",
        stream=stream,
        sources=tuple(dict.fromkeys(source.origin for source in archive.sources)),
        discrete=archive.discrete,
        masks=_ranges(archive.timeline_mask) + (by_source[0] if len(by_source) == 1 else ()),
        masks_differ=len(by_source) > 1,
        frame_step=step,
        speed=speed,
        brings_picture=any(
            setting.WhichOneof("setting") == "snapshot" for setting in message.snapshot.settings
        ),
    )


def _within(value: float, otherwise: float) -> float:
    """What another client wrote need not make sense."""
    return value if math.isfinite(value) and 1e-3 <= value <= 1e6 else otherwise


def _ranges(ranges: Iterable[primitive.TimeRange]) -> tuple[tuple[str, str], ...]:
    return tuple((one.begin_time, one.end_time) for one in ranges)
