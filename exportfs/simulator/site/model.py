"""A site as values: what a test or the demo says there is."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from exportfs.simulator.site.footage import DAY, Recorded

EMBEDDED_ERROR = (
    "Failed to resolve the object reference: CORBA exception OBJECT_NOT_EXIST while resolving the embedded "
    "storage; the device does not answer to the request for its recording capabilities"
)
"""A long text as INTERNAL carries it for one object that cannot be resolved."""


@dataclass(frozen=True, slots=True)
class SiteArchive:
    """An archive, and with it a camera's binding to it."""

    access_point: str
    name: str
    footage: Recorded = field(default_factory=Recorded)
    default: bool = False
    embedded: bool = False
    enabled: bool = True
    active: bool = True
    resolvable: bool = True
    """Whether the archive can be asked for footage; otherwise INTERNAL."""


@dataclass(frozen=True, slots=True)
class SiteCamera:
    """A camera and what is recorded of it."""

    access_point: str
    name: str
    id: str
    archives: tuple[SiteArchive, ...] = ()
    enabled: bool = True
    active: bool = True
    access: int = 60
    """`ECameraAccess`."""
    streams: int = 2
    microphone: bool = False
    comment: str = ""
    vendor: str = "Virtual"
    model: str = "Virtual several streams"
    ip_address: str = "192.0.2.1"

    @property
    def node(self) -> str:
        """The second component of the access point."""
        return self.access_point.split("/")[1] if self.access_point.count("/") else ""


@dataclass(frozen=True, slots=True)
class Site:
    """All cameras, and how the server tells of them."""

    cameras: tuple[SiteCamera, ...] = ()
    agents: tuple[tuple[str, str], ...] = ()
    """Access point and name."""
    version: str = "3.0.0.46"
    time_zone: int = 120
    """Offset of the server's clock on the wall from UTC, in minutes."""
    token_alone: bool = True
    """Whether the token for the next page comes in a message of its own without items (observed)."""
    tells_bindings: bool = True
    """`has_archive_bindings`; False: an older server, which lacks it."""
    unreachable_nodes: frozenset[str] = frozenset()
    """Their cameras are listed, and not told of in detail."""
    most_intervals: int | None = None
    """Intervals in one answer, however many were asked for; the answer is PARTIAL then."""
    clock_ahead: float = 0.0
    """Seconds that the server's clock is ahead."""
    days: bool = True
    """Whether GetCalendar is there."""

    def camera(self, access_point: str) -> SiteCamera | None:
        return next((camera for camera in self.cameras if camera.access_point == access_point), None)


def track(camera: SiteCamera, archive: SiteArchive) -> str:
    """The access point of the recorded video of a camera in an archive."""
    device = camera.access_point.split("/")[2] if camera.access_point.count("/") > 1 else "0"
    return f"{archive.access_point.rpartition('/')[0]}/Sources/src.{camera.node}.{device}"


def plain_site(cameras: Sequence[str], archives: Sequence[str], agents: Sequence[str]) -> Site:
    """Cameras that are called after their number and have been recorded day and night for years, in all archives."""
    footage = Recorded(keep=10 * 365 * DAY)
    bindings = tuple(
        SiteArchive(point, point.split(".")[-1].split("/")[0], footage, default=number == 0)
        for number, point in enumerate(archives)
    )
    return Site(
        tuple(
            SiteCamera(point, f"Camera {number}", str(number), bindings)
            for number, point in enumerate(cameras, 1)
        ),
        tuple((agent, f"Export agent {number}") for number, agent in enumerate(agents)),
    )
