"""Footage as files: real MP4, MKV, AVI, JPEG and PDF of the test pictures, and an opaque EXE."""

import functools
import io
import itertools
import os
import tempfile
from dataclasses import dataclass, replace
from fractions import Fraction

import av

from exportfs.simulator.config import MediaConfig
from exportfs.simulator.media import pictures
from exportfs.simulator.media.content import content

_MUXERS = {"mp4": "mp4", "mkv": "matroska", "avi": "avi"}
_ENCODERS = {"h264": "libx264", "mpeg4": "mpeg4", "mjpeg": "mjpeg"}
_ENCODER_OPTIONS = {"libx264": {"preset": "ultrafast"}}
_KEPT = 16
"""Clips that are at hand for whoever asks for the same footage again."""
MIME_TYPES = {
    "mp4": "video/mp4",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "exe": "application/x-msdownload",
    "jpg": "image/jpeg",
    "pdf": "application/pdf",
}


@dataclass(frozen=True, slots=True)
class Footage:
    """What one file shows."""

    cameras: tuple[str, ...]
    start: float
    """Seconds since the epoch."""
    end: float
    kind: str
    """`mp4 mkv avi exe jpg pdf`."""
    codec: str = ""
    """`h264 mpeg4 mjpeg`; empty for what is not video."""
    fps: Fraction | None = None
    """Frames a second, where it is not for the configuration to say."""
    speed: float = 1.0
    """How many times faster it plays than it was."""
    recorded: tuple[tuple[float, float], ...] | None = None
    """Begins and ends of what there is, in order; None: all of it."""

    def holds(self, at: float) -> bool:
        """Whether the moment was recorded."""
        return self.recorded is None or any(begin <= at < end for begin, end in self.recorded)


@dataclass(frozen=True, slots=True)
class Clip:
    """A finished file and the times of its first and last frame."""

    footage: Footage
    data: bytes
    first: float
    last: float


def _frame_times(footage: Footage, config: MediaConfig) -> tuple[list[float], Fraction]:
    """When each frame is, and the frames a second; at least one frame."""
    length = max(0.0, footage.end - footage.start) / footage.speed
    fps = footage.fps
    if fps is None:
        fps = Fraction(min(config.fps, config.max_frames / max(length, 1.0))).limit_denominator(1000)
        # Footage of days would round to no frames at all.
        fps = max(fps, Fraction(1, 1000))
    count = max(1, min(config.max_frames, round(length * fps)))
    times = [footage.start + float(number / fps) * footage.speed for number in range(count)]
    return [at for at in times if footage.holds(at)] or [footage.start], fps


def _last(footage: Footage, config: MediaConfig, times: list[float], fps: Fraction) -> float:
    """The last footage in a file: its last frame, but for what is thinned out to keep the simulator quick."""
    if fps >= Fraction(config.fps).limit_denominator(1000) or footage.speed != 1:
        return times[-1]
    ends = [end for begin, end in footage.recorded or () if begin < footage.end]
    return min([footage.end, *ends[-1:]])


def _video(footage: Footage, config: MediaConfig) -> Clip:
    times, fps = _frame_times(footage, config)
    encoder = _ENCODERS[footage.codec]
    options = {} if footage.kind != "mp4" or config.moov_at_end else {"movflags": "faststart"}
    # A file and not a buffer: to put the index in front, the muxer opens its output a second time.
    handle, path = tempfile.mkstemp(suffix=f".{footage.kind}")
    os.close(handle)
    try:
        with av.open(path, "w", format=_MUXERS[footage.kind], options=options) as container:
            stream = container.add_stream(encoder, rate=fps, options=_ENCODER_OPTIONS.get(encoder, {}))
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = config.width, config.height
            stream.pix_fmt = "yuvj420p" if encoder == "mjpeg" else "yuv420p"
            stream.thread_count = 1
            for number, at in enumerate(times):
                picture = pictures.frame(footage.cameras, at, config.width, config.height)
                frame = av.VideoFrame.from_image(picture)
                frame.pts = number
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        with open(path, "rb") as file:
            return Clip(footage, file.read(), times[0], _last(footage, config, times, fps))
    finally:
        os.unlink(path)


def _snapshot(footage: Footage, config: MediaConfig) -> Clip:
    picture = pictures.frame(footage.cameras, footage.start, config.width, config.height)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG" if footage.kind == "jpg" else "PDF")
    return Clip(footage, buffer.getvalue(), footage.start, footage.start)


def _player(footage: Footage, config: MediaConfig) -> Clip:
    """What the vendor's self-playing EXE looks like to everyone but Windows: opaque."""
    times, fps = _frame_times(footage, config)
    seed = f"{footage.cameras} {footage.start} {footage.end}"
    return Clip(
        footage,
        b"MZ" + content(seed, 0, 20_000 + 800 * len(times)),
        times[0],
        _last(footage, config, times, fps),
    )


@functools.lru_cache(maxsize=_KEPT)
def render(footage: Footage, config: MediaConfig) -> Clip:
    """Makes one file, the same for the same footage.

    Raises av.FFmpegError where the codec does not go with the container.
    """
    if footage.kind in ("jpg", "pdf"):
        return _snapshot(footage, config)
    return _player(footage, config) if footage.kind == "exe" else _video(footage, config)


def render_split(footage: Footage, config: MediaConfig, max_file_size: int) -> list[Clip]:
    """Makes one file, or as many as it takes for each to be at most `max_file_size` bytes (0: no limit).

    Each part plays alone. A part of a single frame may be larger: there is no way to split it.
    """
    whole = render(footage, config)
    if max_file_size <= 0 or len(whole.data) <= max_file_size or footage.kind in ("jpg", "pdf"):
        return [whole]
    times, fps = _frame_times(footage, config)
    count = -(-len(whole.data) // max_file_size)
    while True:
        count = min(count, len(times))
        after = times[-1] + footage.speed / float(fps)
        edges = [*(times[len(times) * number // count] for number in range(count)), after]
        parts = [
            render(replace(footage, start=start, end=end, fps=fps), config)
            for start, end in itertools.pairwise(edges)
        ]
        if count == len(times) or all(len(part.data) <= max_file_size for part in parts):
            return parts
        count += max(1, count // 4)
