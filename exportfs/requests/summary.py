"""What the tree needs of Options, whoever made them."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from exportfs.errors import Corrupt
from exportfs.model import OptionsSummary
from exportfs.wire import export

_STREAM_KINDS = {
    export.StreamType.MKV: "mkv",
    export.StreamType.AVI: "avi",
    export.StreamType.EXE: "exe",
    export.StreamType.MP4: "mp4",
}
_SNAPSHOT_KINDS = {export.SnapshotType.JPEG: "jpg", export.SnapshotType.PDF: "pdf"}


def read_options(options: bytes) -> Any:
    """The message. Raises Corrupt where the bytes are none: wrong wire format, strings that are not UTF-8."""
    try:
        return export.Options.FromString(options)
    except DecodeError as error:
        raise Corrupt("The server sent export options that cannot be read.") from error


def template_source(all_options: Iterable[bytes]) -> tuple[str | None, str | None]:
    """A camera and the archive it was exported from, of the first of these Options that name both, or a camera."""
    camera = None
    for options in all_options:
        try:
            message = read_options(options)
        except Corrupt:
            continue
        for source in (*message.archive.sources, *message.live.sources):
            storages = getattr(source, "storages", ())
            if source.origin and storages and storages[0]:
                return source.origin, storages[0]
            camera = camera or source.origin or None
    return camera, None


def sources_of(options: bytes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Each source's access point and the archives that are named for it. Raises Corrupt."""
    message = read_options(options)
    live = message.WhichOneof("mode") == "live"
    sources = message.live.sources if live else message.archive.sources
    return tuple((source.origin, tuple(getattr(source, "storages", ()))) for source in sources)


def summarize(options: bytes) -> OptionsSummary:
    """The summary of serialized Options, also of such as no request could hold: nothing in it is checked.

    Raises Corrupt only where the bytes are no Options at all.
    """
    message = read_options(options)
    live = message.WhichOneof("mode") == "live"
    stream = message.WhichOneof("output_type") == "stream"
    if message.WhichOneof("output_type") == "snapshot":
        kind = _SNAPSHOT_KINDS.get(message.snapshot.format, "image")
    else:
        kind = _STREAM_KINDS.get(message.stream.format, "video")
    sources = message.live.sources if live else message.archive.sources
    duration = None
    if live and message.live.HasField("duration"):
        duration = message.live.duration.seconds + message.live.duration.nanos / 1e9
    return OptionsSummary(
        live=live,
        stream=stream,
        kind=kind,
        origin=sources[0].origin if sources else "",
        more_origins=max(0, len(sources) - 1),
        start=message.archive.start_timestamp,
        end=message.archive.end_timestamp,
        duration=duration,
        stored_by_agent=message.store_result_by_export_agent,
        external_directory=message.external_directory,
        cloud_export=message.cloud_export,
        agent=message.export_agent_access_point,
    )
