"""Settings of the parts, each default with its reason. Only the CLI reads files or the environment."""

from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PORT = 20109
"""TCP port of the server's gRPC endpoint (documented)."""

KIB = 1024
MIB = 1024 * KIB

CONNECTION_QUIET = 50.0
"""Seconds after which a connection that nothing passed through is not used again; see `rpc.quiet`."""
STREAMS_WINDOW, STREAMS_WINDOW_NEAR = 4 * MIB, 2 * MIB
"""Bytes that the server may have on their way in a stream: 210 MB/s over 20 ms. Where it is near: with 1 MiB it waits
whenever the thread that reads waits for the interpreter's lock (790 MB/s on loopback), 4 are as fast as 2 (940)."""


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """How to reach the server and who we are there."""

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None
    """None: no login, and no token on the calls."""
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    """PEM of the CA that signed the server's certificate; None: the system's roots."""
    tls_server_name: str | None = None
    """Name in the certificate where it is not the address (observed: it is the node's name)."""
    insecure: bool = False

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class MountConfig:
    """One mount. Durations are in seconds, sizes in bytes."""

    server: ServerConfig
    mountpoint: Path
    source: str = ""
    """What the mount table shows as the source: the word that the user gave, by which mount(8) knows its line in
    /etc/fstab again; empty: the server's address."""
    agent: str | None = None
    """Access point of the export agent for requests that name none."""
    read_only: bool = False
    allow_other: bool = False
    uid: int | None = None
    """Owner of all files but those that others create; None: who mounts. `gid` likewise."""
    gid: int | None = None
    umask: int | None = None
    """Permission bits that nobody has; None: the umask of who mounts."""
    new_mode: int | None = None
    """Mode of new/; None: 0755 less the umask."""
    refresh: float = 5.0
    """A change on the server shows within this time."""
    timeout: float = 30.0
    """No call into the mount waits longer than this without progress."""
    keep_alive: float = 900.0
    """A completed session is kept for this long after its last use."""
    cache_size: int = 256 * MIB
    max_downloads: int = 4
    """DownloadFile calls at once; a server is assumed to serve about 8."""
    state_dir: Path | None = None
    """Where the journal of started sessions is; None: the user's state directory."""
    log_file: Path | None = None
    log_level: str = "info"
    foreground: bool = False
