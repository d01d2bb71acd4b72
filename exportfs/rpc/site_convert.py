"""From the server's messages about the site to our values. Reads them leniently: no text of a server's makes a camera
unreadable, and fields that are not known are passed over."""

from exportfs.errors import Corrupt
from exportfs.rpc.wire_format import MalformedMessage, fields
from exportfs.site import Agent, Archive, Camera, Completeness, Details, History, Interval, Stream, preference

Value = int | memoryview

EPOCH_OFFSET_MS = 2_208_988_800_000
"""From 1900-01-01T00:00:00Z, where the archive's times begin, to the Unix epoch (documented)."""
_EMBEDDED = 2
"""`ST_EMBEDDED` of the contract."""
_SIGN = 1 << 63


def to_wire(unix_ms: int) -> int:
    """An archive's time of Unix milliseconds; before 1900 there is none."""
    return max(0, unix_ms + EPOCH_OFFSET_MS)


def cameras_page(raw: bytes) -> tuple[list[Camera], str]:
    """(cameras, next page token) of a serialized ListCamerasResponse. Raises Corrupt."""
    cameras, token = [], ""
    for number, value in _fields(raw):
        if number == 1:
            cameras.append(_camera(value, detailed=False))
        elif number == 2:
            token = _text(value)
    return cameras, token


def batch_page(raw: bytes) -> Details:
    """Of a serialized BatchGetCamerasResponse. Raises Corrupt."""
    cameras, missing, unreachable = [], set(), set()
    for number, value in _fields(raw):
        if number == 1:
            cameras.append(_camera(value, detailed=True))
        elif number == 2:
            missing.add(_text(value))
        elif number == 3:
            unreachable.add(_text(value))
    return Details(tuple(cameras), frozenset(missing), frozenset(unreachable))


def agents_page(raw: bytes) -> tuple[list[Agent], str]:
    """(agents, next page token) of a serialized ListComponentsResponse. Raises Corrupt."""
    agents, token = [], ""
    for number, value in _fields(raw):
        if number == 1:
            parts = dict(_fields(value))
            agents.append(Agent(_text(parts.get(1)), _text(parts.get(2))))
        elif number == 2:
            token = _text(value)
    return agents, token


def version(raw: bytes) -> str:
    """Of a serialized GetVersionResponse. Raises Corrupt."""
    return _text(dict(_fields(raw)).get(1))


def history(raw: bytes) -> History:
    """Of a serialized GetHistory2Response. Raises Corrupt."""
    code = 0
    intervals: list[Interval] = []
    for number, value in _fields(raw):
        if number == 1 and isinstance(value, int):
            code = value
        elif number == 2:
            parts = dict(_fields(value))
            begin, end = _unix_ms(parts.get(1)), _unix_ms(parts.get(2))
            if begin <= end:
                intervals.append((begin, end))
    known = code in Completeness._value2member_map_
    # A code that is not known cannot be taken for all that there is.
    return History(Completeness(code) if known else Completeness.PARTIAL, tuple(intervals))


def _camera(raw: Value, *, detailed: bool) -> Camera:
    scalars: dict[int, Value] = {}
    streams, microphones, archives = [], [], []
    for number, value in _fields(raw):
        if number == 16:
            parts = dict(_fields(value))
            streams.append(Stream(_text(parts.get(1)), _text(parts.get(4))))
        elif number == 17:
            parts = dict(_fields(value))
            microphones.append(Stream(_text(parts.get(1)), _text(parts.get(2))))
        elif number == 19:
            archives.append(_archive(value))
        else:
            scalars[number] = value
    told = scalars.get(37)
    return Camera(
        access_point=_text(scalars.get(1)),
        name=_text(scalars.get(2)),
        id=_text(scalars.get(3)),
        enabled=bool(scalars.get(28)),
        active=bool(scalars.get(25)),
        access=_number(scalars.get(6)),
        comment=_text(scalars.get(9)),
        has_archives=None if told is None else bool(dict(_fields(told)).get(1)),
        detailed=detailed,
        streams=tuple(streams),
        microphones=tuple(microphones),
        archives=tuple(sorted(archives, key=preference)),
    )


def _archive(raw: Value) -> Archive:
    """Of an ArchiveBinding."""
    storage, default, track = "", False, ""
    inner: dict[int, Value] = {}
    for number, value in _fields(raw):
        if number == 2:
            storage = _text(value)
        elif number == 4:
            inner = dict(_fields(value))
        elif number == 5:
            default = bool(value)
        elif number == 16 and not track:
            track = _video_track(dict(_fields(value)))
    return Archive(
        access_point=storage or _text(inner.get(1)),
        name=_text(inner.get(2)),
        default=default,
        embedded=bool(inner.get(4)) or inner.get(19) == _EMBEDDED,
        active=bool(inner.get(17)) and bool(inner.get(18)),
        track=track,
    )


def _video_track(source: dict[int, Value]) -> str:
    """The access point of a StorageSource that is recorded video, else nothing."""
    media = _text(source.get(4)).rpartition("/")[2]
    is_video = _text(source.get(6)).startswith("video/") or media.startswith("SourceEndpoint.video:")
    return _text(source.get(1)) if is_video else ""


def _fields(raw: bytes | Value) -> list[tuple[int, Value]]:
    try:
        return [] if isinstance(raw, int) else list(fields(memoryview(raw)))
    except MalformedMessage as error:
        raise Corrupt(f"the server's answer about cameras cannot be read: {error}") from None


def _text(value: Value | None) -> str:
    return bytes(value).decode("utf-8", "surrogateescape") if isinstance(value, memoryview) else ""


def _number(value: Value | None) -> int:
    return value if isinstance(value, int) else 0


def _unix_ms(value: Value | None) -> int:
    number = _number(value)
    return (number - (1 << 64) if number >= _SIGN else number) - EPOCH_OFFSET_MS
