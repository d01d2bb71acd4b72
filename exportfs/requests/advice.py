"""What Options say that has no effect, or may not be meant so: allowed, and worth a sentence.

By what the vendor's interface says of its fields. Only what it makes certain to be wrong is refused (`rules`).
"""

import re
from collections.abc import Iterator
from typing import Any

from exportfs.requests.summary import read_options

_PLACEHOLDERS = frozenset(
    ("Timestamp", "ExportComment", "CameraId", "CameraName", "CameraLocation", "CurrentUser", "BookmarkInfo")
)
"""Of `common_info_pattern`."""
_PICTURES = (b"BM", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
"""How BMP, JPEG and PNG begin: what `ExternalFrame.image` may be."""
_FARTHEST_ZONE = 14 * 60
"""Minutes from UTC."""
_SMALLEST_POLYGON = 4
"""Points: three corners, and the first again."""


def advice(options: bytes) -> tuple[str, ...]:
    """Sentences for people, each once. Raises Corrupt where the bytes are no Options."""
    return tuple(dict.fromkeys(_all(read_options(options))))


def _all(options: Any) -> Iterator[str]:
    stream = options.WhichOneof("output_type") == "stream"
    archive = options.WhichOneof("mode") == "archive"
    mode = options.archive if archive else options.live
    for setting in options.settings:
        yield from _common(setting, options)
    if not stream:
        yield from _of_streams(options, archive)
    for source in mode.sources:
        for setting in source.settings:
            if setting.WhichOneof("setting") == "mask_space":
                yield from _polygons(setting.mask_space)
    for setting in options.snapshot.settings:
        image = setting.snapshot.image if setting.WhichOneof("setting") == "snapshot" else b""
        if image and not image.startswith(_PICTURES):
            yield "the image of a snapshot is neither BMP nor JPEG nor PNG"


def _common(setting: Any, options: Any) -> Iterator[str]:
    match setting.WhichOneof("setting"):
        case "timezone":
            minutes = setting.timezone
            if abs(minutes) > _FARTHEST_ZONE or minutes % 15:
                yield f"timezone counts minutes, and no zone is {minutes} minutes away from UTC"
        case "file_name":
            if not options.store_result_by_export_agent and not options.external_directory:
                yield (
                    "fileName has no effect: it only names results that the agent stores (storeResultByExportAgent, "
                    "externalDirectory)"
                )
        case "burn_subtitle":
            yield "burnSubtitle is deprecated: subtitleCast says what subtitles hold and whether they are burnt in"
        case "subtitle_cast":
            names = set(re.findall(r"\{(\w+)\}", setting.subtitle_cast.common_info_pattern))
            for name in sorted(names - _PLACEHOLDERS):
                yield (
                    f"commonInfoPattern: {{{name[:40]}}} is none of "
                    f"{', '.join(f'{{{one}}}' for one in sorted(_PLACEHOLDERS))}"
                )


def _of_streams(options: Any, archive: bool) -> Iterator[str]:
    """Fields that are for streams, in a request for pictures."""
    if not archive:
        if options.live.HasField("duration"):
            yield "duration has no effect: it is for streams, and this is a snapshot"
        return
    if options.archive.end_timestamp:
        yield "endTimestamp has no effect: it is for streams, and this is a snapshot"
    if options.archive.timeline_mask or any(source.timeline_mask for source in options.archive.sources):
        yield "timelineMask has no effect: it is for streams, and this is a snapshot"


def _polygons(mask: Any) -> Iterator[str]:
    for polygon in mask.space:
        points = [(point.x, point.y) for point in polygon.points]
        if points and points[0] != points[-1]:
            yield "a polygon of maskSpace is open: its last point must be its first again, or the mask may not hold"
        elif len(points) < _SMALLEST_POLYGON:
            yield "a polygon of maskSpace has fewer than three corners, and masks nothing"
