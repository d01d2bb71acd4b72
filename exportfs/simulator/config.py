"""What a simulated server is like: who may log in, what it has, and what its limits are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from exportfs.simulator.site.model import Site, plain_site

MINUTE = 60.0
CAMERAS = tuple(f"hosts/Server/DeviceIpint.{number}/SourceEndpoint.video:0:0" for number in (1, 2, 3))
ARCHIVES = ("hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage",)
AGENTS = ("hosts/Server/MMExportAgent.0", "hosts/Server/MMExportAgent.1")


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the server."""

    password: str = field(repr=False)
    second_factor: str | None = field(default=None, repr=False)
    """The code that AuthenticateBySecondFactor wants; None: the password is enough."""
    max_logins: int | None = None
    """Logins at once; one more is answered with ALREADY_LOGGED and `reached_connection_limit`."""
    lock_after: int | None = None
    """Wrong passwords in a row after which the answer is USER_LOCKED, whatever the password."""


@dataclass(frozen=True, slots=True)
class LoginConfig:
    """Logins and tokens. Durations in seconds."""

    accounts: Mapping[str, Account] = field(default_factory=lambda: {"demo": Account("demo")})
    required: bool = True
    """False: a server without logins, where calls need no token."""
    token_name: str = "auth_token"
    """Observed."""
    token_life: float = 300.0
    """Observed."""
    renewal_ends_old_token: bool = False
    """Unknown of a real server; False lets calls under way keep the token they began with."""
    clock_skew: float = 0.0
    """How far the server's clock, and so `expires_at`, is ahead of the true time."""
    second_factor_life: float = 120.0
    second_factor_attempts: int = 3


@dataclass(frozen=True, slots=True)
class TimerConfig:
    """When sessions nobody asks about are ended, in seconds (documented)."""

    live_stream: float = 5 * MINUTE
    running: float = 30 * MINUTE
    completed: float = 60 * MINUTE
    show_removed: float = 0.0
    """How long a removed session is still shown, as S_REMOVED and without files; 0: it is unknown at once."""

    destroyed_stays: float = 0.0
    """How long a destroyed session is listed and answered for as if nothing had happened (observed: 8 to 10 s)."""


@dataclass(frozen=True, slots=True)
class DownloadConfig:
    """How DownloadFile treats what the vendor does not document."""

    max_at_once: int | None = 8
    """Downloads at once; one more is refused with RESOURCE_EXHAUSTED."""
    max_chunk_kb: int | None = None
    """Largest block in KiB; None: whatever is asked for."""
    over_cap: str = "refuse"
    """Above `max_chunk_kb`: `refuse` with INVALID_ARGUMENT, or `cap`: index and length go by the cap."""
    past_end: str = "empty"
    """A start index at or after the end gives an `empty` stream, or an `error`, OUT_OF_RANGE."""

    def __post_init__(self) -> None:
        if self.over_cap not in ("refuse", "cap") or self.past_end not in ("empty", "error"):
            raise ValueError("over_cap is 'refuse' or 'cap', past_end is 'empty' or 'error'")


@dataclass(frozen=True, slots=True)
class ListingConfig:
    """How ListSessions divides its answer."""

    default_page_size: int = 100
    """Sessions in a page where the request says 0."""
    sessions_per_message: int | None = None
    """None: a page is one message."""


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """The pictures. Small and few, so that an export takes a fraction of a second of computing."""

    width: int = 320
    height: int = 240
    fps: float = 5.0
    max_frames: int = 600
    """Frames in one export; longer footage gets fewer frames a second."""
    key_frame_seconds: float = 0.0
    """Where it is set down what was recorded: a clip begins at a key frame, and these come as often."""
    moov_at_end: bool = False
    """MP4: the index at the end of the file, where a player has to seek for it."""


@dataclass(frozen=True, slots=True)
class Config:
    """A simulated server."""

    login: LoginConfig = field(default_factory=LoginConfig)
    timers: TimerConfig = field(default_factory=TimerConfig)
    downloads: DownloadConfig = field(default_factory=DownloadConfig)
    listing: ListingConfig = field(default_factory=ListingConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    cameras: tuple[str, ...] = CAMERAS
    archives: tuple[str, ...] = ARCHIVES
    recorded: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    """What archives hold of a camera, as begins and ends in seconds since the epoch, in order; of a camera that is not
    in here, everything."""
    agents: tuple[str, ...] = AGENTS
    """Access points. Requests that name none go to the one with index 1 (documented), which ends in `.1`."""
    site: Site | None = None
    """What cameras/ shows; None: the cameras above, called after their numbers and recorded day and night."""
    has_site: bool = True
    """False: a server without the services that tell of cameras; their calls are UNIMPLEMENTED."""
    node: str = "Server"
    """The node's name, in session ids and in the certificate."""
    export_seconds: float = 2.0
    """Time on the clock from StartSession to S_COMPLETED, but for live streams."""
    file_ids: str | tuple[str, ...] = "plain"
    """`plain` names, `slashes` in them, `opaque` without extension; or a list that is used in turn."""
    agent_directory: str = "C:\\Exports"
    """Where `store_result_by_export_agent` puts results: a path on the agent's machine."""
    fills_in_agent: bool = False
    """Whether a session's Options come to name the agent, where the request named none (unknown)."""
    foreign_bytes: tuple[tuple[str, bytes], ...] = ()
    """Texts that travel as other bytes of the same length, in both directions, but not in blocks of files.

    `(("é", b"\\xff\\xfe"),)` makes ids and paths with an é invalid UTF-8, and the server understands them.
    """
    stopped_succeeds: bool = True
    """`Result.succeeded` of an archive export that was stopped. A stopped live export always succeeds."""

    def __post_init__(self) -> None:
        if any(len(text.encode()) != len(other) for text, other in self.foreign_bytes):
            raise ValueError("foreign_bytes must be as long as the text's UTF-8")

    @property
    def told_site(self) -> Site:
        """The site that the server tells of."""
        return self.site or plain_site(self.cameras, self.archives, self.agents)

    @staticmethod
    def of_site(site: Site, **others: Any) -> "Config":
        """A server of exactly this site: what it tells of is what can be exported."""
        bindings = [one for camera in site.cameras for one in camera.archives]
        archives = {one.access_point: None for one in sorted(bindings, key=lambda one: one.embedded)}
        return Config(
            cameras=tuple(camera.access_point for camera in site.cameras),
            archives=tuple(archives),
            agents=tuple(agent for agent, _ in site.agents),
            site=site,
            **others,
        )
