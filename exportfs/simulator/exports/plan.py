"""Options of StartSession, checked as strictly as the contract allows, and what they ask for."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from exportfs.simulator import timestamps
from exportfs.simulator.api.refusal import invalid, precondition
from exportfs.simulator.config import Config
from exportfs.wire import export

_STREAM_KINDS = {0: "mkv", 1: "mkv", 2: "avi", 3: "exe", 4: "mp4"}
_SNAPSHOT_KINDS = {0: "jpg", 1: "jpg", 2: "pdf"}
_CODECS = {1: "mjpeg", 2: "mpeg4", 3: "h264"}
_DEFAULT_CODECS = {"mkv": "h264", "mp4": "h264", "avi": "mjpeg"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What an export is to make."""

    live: bool
    stream: bool
    kind: str
    """`mp4 mkv avi exe jpg pdf`."""
    codec: str
    cameras: tuple[str, ...]
    discrete: bool
    start: float | None
    """Seconds since the epoch; None: when the export starts (live)."""
    end: float | None
    """None for a snapshot and for live."""
    duration: float | None
    """Seconds that a live stream runs; None: until it is stopped."""
    speed: float
    """How many times faster a stream plays (time lapse)."""
    password: str
    """Empty: none."""
    max_file_size: int
    file_name: str
    timezone: int
    agent: str
    external_directory: str
    stored_by_agent: bool
    in_cloud: bool

    @property
    def downloadable(self) -> bool:
        """Documented: results kept by the agent, in a directory or in the cloud cannot be downloaded."""
        return not (self.stored_by_agent or self.external_directory or self.in_cloud)


def _agent(options: export.Options, config: Config) -> str:
    if not config.agents:
        raise precondition("There is no export agent")
    named = options.export_agent_access_point
    if named and named not in config.agents:
        raise invalid(f"There is no export agent {named}")
    if named:
        return named
    for agent in config.agents:
        if agent.endswith(".1"):
            return agent
    raise precondition("There is no export agent with index 1, and the request names none")


def _timestamp(text: str, what: str) -> float:
    try:
        return timestamps.parse(text)
    except ValueError as error:
        raise invalid(f"{what}: {error}") from None


def _ranges(ranges: Iterable[object], what: str) -> None:
    for one in ranges:
        begin = _timestamp(getattr(one, "begin_time", ""), f"{what}.begin_time")
        if _timestamp(getattr(one, "end_time", ""), f"{what}.end_time") < begin:
            raise invalid(f"{what}: the end is before the begin")


def _check_origins(origins: list[str], config: Config) -> None:
    if not origins:
        raise invalid("No sources")
    for origin in origins:
        if origin not in config.cameras:
            raise invalid(f"There is no camera {origin!r}")


def _archive_interval(options: export.Options, config: Config) -> tuple[float, float | None]:
    archive = options.archive
    for source in archive.sources:
        _ranges(source.timeline_mask, "archive.sources.timeline_mask")
        for storage in source.storages:
            if storage not in config.archives:
                raise invalid(f"There is no archive {storage!r}")
    _ranges(archive.timeline_mask, "archive.timeline_mask")
    if not archive.start_timestamp:
        raise invalid("archive.start_timestamp is missing")
    start = _timestamp(archive.start_timestamp, "archive.start_timestamp")
    end = _timestamp(archive.end_timestamp, "archive.end_timestamp") if archive.end_timestamp else None
    if end is not None and end < start:
        raise invalid("archive.end_timestamp is before archive.start_timestamp")
    if options.HasField("snapshot"):
        return start, None
    if end is None:
        raise invalid("archive.end_timestamp is missing: a stream needs an interval")
    if end == start:
        raise invalid("The interval is empty")
    return start, end


def _output(options: export.Options) -> tuple[str, str]:
    """Kind and codec."""
    if options.HasField("snapshot"):
        if options.snapshot.format not in _SNAPSHOT_KINDS:
            raise invalid(f"snapshot.format: unknown value {options.snapshot.format}")
        return _SNAPSHOT_KINDS[options.snapshot.format], ""
    if options.stream.format not in _STREAM_KINDS:
        raise invalid(f"stream.format: unknown value {options.stream.format}")
    kind = _STREAM_KINDS[options.stream.format]
    codec = _DEFAULT_CODECS.get(kind, "")
    for setting in options.stream.settings:
        if setting.WhichOneof("setting") == "video_codec":
            codec = _CODECS.get(setting.video_codec, codec)
    return kind, codec


def _check_shares(message: Any) -> None:
    """Documented: areas and colours are shares from 0 to 1."""
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else (value,):
            if field.message_type.name not in ("ViewArea", "ColorInfo"):
                _check_shares(part)
            elif not all(0 <= share <= 1 for _, share in part.ListFields()):
                raise invalid(f"{field.name}: not a share from 0 to 1")


def _stream_setting(options: export.Options, name: str, default: Any) -> Any:
    """The last StreamSetting called `name`."""
    given = [getattr(one, name) for one in options.stream.settings if one.WhichOneof("setting") == name]
    return given[-1] if given else default


def _speed(options: export.Options) -> float:
    lapse = _stream_setting(options, "time_lapse", None)
    # 0 is the original.
    return float(lapse.speed) if lapse is not None and lapse.speed > 0 else 1.0


def _duration(options: export.Options) -> float | None:
    if not options.live.HasField("duration"):
        return None
    seconds = options.live.duration.seconds + options.live.duration.nanos / 1e9
    if seconds <= 0:
        raise invalid("live.duration must be positive")
    return seconds


def _setting(options: export.Options, name: str, default: Any) -> Any:
    """The last CommonSetting called `name`."""
    given = [getattr(one, name) for one in options.settings if one.WhichOneof("setting") == name]
    return given[-1] if given else default


def make_plan(options: export.Options, config: Config) -> Plan:
    """Raises Refused: INVALID_ARGUMENT for wrong Options, FAILED_PRECONDITION where no agent can run them."""
    mode = options.WhichOneof("mode")
    if mode is None:
        raise invalid("No mode: live or archive")
    if options.WhichOneof("output_type") is None:
        raise invalid("No output type: snapshot or stream")
    agent = _agent(options, config)
    live = mode == "live"
    _check_shares(options)
    sources = options.live.sources if live else options.archive.sources
    origins = [source.origin for source in sources]
    _check_origins(origins, config)
    start, end = (None, None) if live else _archive_interval(options, config)
    kind, codec = _output(options)
    stream = options.HasField("stream")
    return Plan(
        live=live,
        stream=stream,
        kind=kind,
        codec=codec,
        cameras=tuple(origins),
        discrete=options.live.discrete if live else options.archive.discrete,
        start=start,
        end=end,
        duration=_duration(options) if live and stream else None,
        speed=_speed(options),
        password=_stream_setting(options, "password", ""),
        max_file_size=options.max_file_size,
        file_name=_setting(options, "file_name", ""),
        timezone=_setting(options, "timezone", 0),
        agent=agent,
        external_directory=options.external_directory,
        stored_by_agent=options.store_result_by_export_agent,
        in_cloud=options.cloud_export,
    )
