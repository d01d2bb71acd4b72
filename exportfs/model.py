"""What the server has, as plain immutable values. Nothing here knows gRPC, messages or the kernel."""

import enum
from dataclasses import dataclass


class State(enum.Enum):
    """States of a session, `EState` of the contract."""

    NONE = 0
    RUNNING = 1
    COMPLETED = 2
    REMOVED = 3


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One file of a session's results, as the server describes it (`Result.File`)."""

    path: str
    """The file id that DownloadFile takes, or a location where the file cannot be downloaded."""
    size: int
    """Bytes."""
    mime_type: str = ""
    min_timestamp: str = ""
    """UTC of the first footage, in the server's form (`20260511T080814.064000`)."""
    max_timestamp: str = ""
    """UTC of the last footage, in the server's form."""
    cloud_id: str = ""


@dataclass(frozen=True, slots=True)
class SessionState:
    """What GetSessionState says."""

    state: State
    succeeded: bool = False
    last_frame_timestamp: str = ""
    files: tuple[ResultFile, ...] = ()


@dataclass(frozen=True, slots=True)
class OptionsSummary:
    """The parts of a session's Options that the tree needs; the whole is kept as its serialized message."""

    live: bool = False
    stream: bool = False
    kind: str = "video"
    """`mp4 mkv avi exe jpg pdf`, or `video`/`image` where the format is left to the agent."""
    origin: str = ""
    """Access point of the first source."""
    more_origins: int = 0
    start: str = ""
    """Start of the archive interval in the server's form; empty for live."""
    end: str = ""
    duration: float | None = None
    """Seconds that a live export runs; None where it runs until it is stopped."""
    stored_by_agent: bool = False
    external_directory: str = ""
    cloud_export: bool = False
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Session:
    """One export session: identity, options and the state that was last heard of."""

    id: str
    """Opaque; sent back exactly as it came. Bytes that are not UTF-8 are kept as surrogate escapes."""
    options: bytes
    """Serialized `Options`."""
    summary: OptionsSummary
    state: SessionState


@dataclass(frozen=True, slots=True)
class Listing:
    """All sessions at one time, the CPU seconds that listing them cost us, and the bytes that it brought."""

    sessions: tuple[Session, ...]
    cost: float
    size: int = 0


@dataclass(frozen=True, slots=True)
class Fetch:
    """One DownloadFile call: which blocks of which file."""

    session_id: str
    file_id: str
    chunk_size: int
    """Bytes in a block, a multiple of 1024."""
    first: int
    """Number of the first block."""
    until: int
    """Number of the first block that is not wanted yet."""
    size: int = 0
    """Bytes of the file."""
    wide: bool = False
    """Whether throughput is worth more than little waste: the server may send ahead of what is wanted."""
    stop: bool = False
    """Whether to end at `until`, at once, rather than wait for more to be wanted."""
    end: int | None = None
    """Offset in the file up to which bytes of the last block are wanted, where not all of it is and the rest costs
    time; only of those that `stop`."""


def downloadable(summary: OptionsSummary, file: ResultFile) -> bool:
    """Whether DownloadFile can fetch it (documented: not from the agent's disk, a directory or the cloud)."""
    if summary.stored_by_agent or summary.external_directory:
        return False
    return not file.cloud_id


def location(summary: OptionsSummary, file: ResultFile) -> str:
    """Where a result that cannot be downloaded is: its cloud id, or its path on the agent's machine."""
    return file.cloud_id if file.cloud_id and not summary.stored_by_agent else file.path
