"""What is in a camera's directory: `camera.json`, `request.json`, and the footage files that are found by name."""

import os
from datetime import datetime

from exportfs import record
from exportfs.cameras.footage import (
    AHEAD,
    EARLIEST,
    HOUR,
    MINUTE,
    SECOND,
    Zoom,
    last_of,
    zoom,
)
from exportfs.cameras.footage_names import asked_for, from_unix_ms
from exportfs.errors import AccessDenied, ExportfsError, Gone, NotFound, NotPermitted
from exportfs.requests import template
from exportfs.site import Archive, Camera, Interval
from exportfs.vfs.cameras.rendering import camera_record, footage_text
from exportfs.vfs.context import Context
from exportfs.vfs.node import SECOND as NANOSECONDS
from exportfs.vfs.node import Handle, Snapshot, Text

CLIP = 5 * MINUTE
"""Length of the footage that `request.json` asks for."""


def everything(context: Context) -> Interval:
    """From the first footage to the newest, whose end is moving: to the next full minute, so that looks within it are
    one."""
    now = int(context.wall()) * SECOND
    return EARLIEST, (now // MINUTE + 1) * MINUTE + AHEAD


async def newest(
    context: Context, camera: Camera, archive: Archive | None = None
) -> tuple[Archive, Interval] | None:
    """The archive and the last five minutes of footage in one piece, or what there is of them; None where there is no
    footage. Raises what asking raises."""
    begin, end = everything(context)
    coarse = await context.footage.read(camera, begin, end, archive=archive, zoom=zoom(begin, end))
    if not coarse.intervals:
        return None
    stop = coarse.intervals[-1][1]
    # The last hour once more: coarsely, gaps of minutes are not seen.
    close = await context.footage.read(
        camera, max(begin, stop - HOUR), stop, archive=coarse.archive, zoom=Zoom(exact=True, gap=0)
    )
    clip = last_of(close.intervals or coarse.intervals, CLIP)
    return (coarse.archive, clip) if clip is not None else None


class CameraFile(Text):
    """A text about one camera, made from what is known; looked into more closely when it is opened."""

    name = ""
    """In the camera's directory."""

    def __init__(self, ino: int, context: Context, access_point: str) -> None:
        super().__init__(ino)
        self.context = context
        self.access_point = access_point
        self._shown = Snapshot(b"", 0)

    @property
    def camera(self) -> Camera:
        """Raises Gone."""
        camera = self.context.cameras.get(self.access_point)
        if camera is None:
            raise Gone("the server no longer lists this camera")
        return camera

    def text(self) -> bytes:
        """What there is to say now, from memory."""
        raise NotImplementedError

    async def look(self) -> None:
        """Asks for what the text needs. May raise our errors: then it says what is known."""

    def snapshot(self) -> Snapshot:
        text = self.text()
        if text != self._shown.data:
            # Its time changes with its text and only then.
            self._shown = Snapshot(text, int(self.context.wall() * NANOSECONDS))
        return self._shown

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("it is read-only")
        try:
            await self.look()
        except ExportfsError:
            self.camera  # noqa: B018 # gone: then there is nothing to say
        return await super().open(flags)


class CameraRecord(CameraFile):
    """`camera.json`"""

    name = record.CAMERA

    def __init__(self, ino: int, context: Context, access_point: str) -> None:
        super().__init__(ino, context, access_point)
        self._made: tuple[Camera | None, bytes] = (None, b"")

    def text(self) -> bytes:
        camera = self.camera
        if self._made[0] is not camera:  # cameras never change: others take their places
            self._made = (camera, camera_record(camera))
        return self._made[1]

    async def look(self) -> None:
        await self.context.cameras.detailed(self.access_point)


class CameraRequest(CameraFile):
    """`request.json`: a request for the camera's last five minutes of footage."""

    name = "request.json"

    def __init__(self, ino: int, context: Context, access_point: str) -> None:
        super().__init__(ino, context, access_point)
        self._newest: tuple[Archive, Interval] | None = None
        self._made: tuple[object, bytes] = (None, b"")

    def text(self) -> bytes:
        camera = self.camera
        archive = self._newest[0] if self._newest else next(iter(camera.archives), None)
        key = (archive, self._newest)
        if self._made[0] != key or not self._made[1]:
            # Without a look at the archive: from when it was first asked for, and the same from then on.
            end = self._newest[1][1] if self._newest else int(self.context.wall()) // 60 * MINUTE
            begin = self._newest[1][0] if self._newest else end - CLIP
            self._made = (key, _request(camera, archive, from_unix_ms(begin), from_unix_ms(end)))
        return self._made[1]

    async def look(self) -> None:
        if self.context.cameras.may_ask():
            camera = await self.context.cameras.detailed(self.access_point)
            self._newest = await newest(self.context, camera)


def _request(camera: Camera, archive: Archive | None, begin: datetime, end: datetime) -> bytes:
    text = template(
        camera=camera.access_point, archive=archive.access_point if archive else None, begin=begin, end=end
    )
    return text.encode("utf-8", "replace")


class FootageFile(CameraFile):
    """`footage`, `footage@DAY`, `footage@FROM--TO`. Its text is there before anybody sees it: whoever looks at its name
    asks the archive."""

    def __init__(self, ino: int, context: Context, access_point: str, name: str) -> None:
        super().__init__(ino, context, access_point)
        self.name = name
        self._text = b""

    def text(self) -> bytes:
        return self._text

    async def look(self) -> None:
        """Raises AccessDenied, NotFound, and what asking raises."""
        camera = await self.context.cameras.detailed(self.access_point)
        if camera.exportable is False:
            raise AccessDenied("this login has no right to see the footage of this camera")
        if not camera.archives:
            raise NotFound("nothing records this camera, or the server does not say what does")
        interval = asked_for(self.name, everything(self.context))
        if interval is None:
            raise NotFound("no such file")
        begin, end = interval
        footage = await self.context.footage.read(camera, begin, end, zoom=zoom(begin, end))
        self._text = footage_text(footage)

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE == os.O_RDONLY:
            await self.look()  # unlike the others it has nothing to say without
        return await Text.open(self, flags)


LISTED: dict[str, type[CameraFile]] = {kind.name: kind for kind in (CameraRecord, CameraRequest)}
"""What is listed in a camera's directory, by name."""


def listed_file(context: Context, access_point: str, name: str) -> CameraFile:
    """The node of a name that is in `LISTED`."""
    key = ("camera", access_point, name)
    return context.inodes.intern(key, lambda ino: LISTED[name](ino, context, access_point), late=True)
