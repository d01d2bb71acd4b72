"""The site as plain immutable values: cameras, their archives, footage, export agents.

Nothing here knows gRPC, messages or the kernel. Where a fact is from (documented, observed, inferred):
docs/server-contract.md.
"""

import enum
from dataclasses import dataclass

EXPORTABLE = frozenset({15, 40, 50, 60})
"""Values of `ECameraAccess` with which footage can be exported (documented)."""
UNSAID = 0
"""Of `ECameraAccess`: the server says nothing of it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of a camera: video or sound."""

    access_point: str
    name: str


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that records a camera."""

    access_point: str
    name: str
    """Free text, far from unique: every embedded storage is called alike."""
    default: bool = False
    embedded: bool = False
    """Storage within the device: always listed, often not to be asked."""
    active: bool = True
    """Enabled and running."""
    track: str = ""
    """Access point of the recorded video, which the archive is asked by; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera. Texts that are not UTF-8 are kept as surrogate escapes."""

    access_point: str
    name: str
    id: str
    enabled: bool = True
    active: bool = True
    """Running now. Where not, there may be footage all the same."""
    access: int = UNSAID
    """`ECameraAccess`."""
    comment: str = ""
    has_archives: bool | None = None
    """Whether it is recorded, embedded storage not counted; None where the server does not say."""
    detailed: bool = False
    """Whether the lists below are known: a listing has them empty."""
    streams: tuple[Stream, ...] = ()
    microphones: tuple[Stream, ...] = ()
    archives: tuple[Archive, ...] = ()
    """In the order of preference: default, others that are active, others, embedded storage last."""

    @property
    def label(self) -> str:
        """The vendor's own, `<display_id>.<display_name>`."""
        return f"{self.id}.{self.name}" if self.id else self.name

    @property
    def node(self) -> str:
        """Second component of the access point, `hosts/NODE/...`."""
        parts = self.access_point.split("/")
        return parts[1] if len(parts) > 1 else ""

    @property
    def exportable(self) -> bool | None:
        """Whether this login may export its footage; None where the server says nothing."""
        return None if self.access == UNSAID else self.access in EXPORTABLE


@dataclass(frozen=True, slots=True)
class Details:
    """An answer of BatchGetCameras."""

    cameras: tuple[Camera, ...]
    missing: frozenset[str] = frozenset()
    unreachable: frozenset[str] = frozenset()
    """Access points that a node holds which does not answer."""


@dataclass(frozen=True, slots=True)
class Agent:
    """An export agent."""

    access_point: str
    name: str


Interval = tuple[int, int]
"""Begin and end in Unix milliseconds."""


class Completeness(enum.Enum):
    """`EResult` of GetHistory2."""

    FULL = 0
    PARTIAL = 1
    """Go on at the end of the last interval."""
    TRY_LATER = 3


@dataclass(frozen=True, slots=True)
class History:
    """An answer of GetHistory2."""

    completeness: Completeness
    intervals: tuple[Interval, ...]


def preference(archive: Archive) -> tuple[bool, bool, bool]:
    """Sorts archives in the order in which clients choose them (inferred)."""
    return (archive.embedded, not archive.default, not archive.active)
