"""What of an archive's footage an export asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Asked:
    """What an archive export was asked for; times in the server's form."""

    start: str
    end: str = ""
    """Empty for a snapshot, which is of one moment."""
    stream: bool = True
    sources: tuple[str, ...] = ()
    """Access points of the cameras, each once."""
    discrete: bool = False
    """Whether there is to be a file for each source."""
    masks: tuple[tuple[str, str], ...] = ()
    """`timeline_mask` of the mode, or of all sources where it is the same for them."""
    masks_differ: bool = False
    """Whether sources have masks of their own: then no file can be held against any."""
    frame_step: float = 0.0
    """Seconds of footage from one frame to the next, where a time lapse thins out; 0: unknown, or all frames."""
    speed: float = 1.0
    """How many times faster a time lapse plays."""
    brings_picture: bool = False
    """Whether the request came with the picture itself, so that its time is not the archive's."""
