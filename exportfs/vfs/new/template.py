"""`new/.template.json`: a request to start from, with a camera, an archive and times of this server's."""

import contextlib
import os
from datetime import UTC, datetime, timedelta

import trio

from exportfs.cameras.footage_names import from_unix_ms
from exportfs.errors import ExportfsError, NotPermitted
from exportfs.requests import template, template_source
from exportfs.site import Archive, Camera, Interval
from exportfs.vfs.cameras.files import newest
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import TEMPLATE
from exportfs.vfs.node import SECOND, Handle, Snapshot, Text

LOOKED_AT = 200
"""Sessions that are looked through for a camera and an archive, and cameras for one that can be exported."""
LOOKS = 3
"""Cameras whose footage is asked for, until one has some."""
WAITS = 3.0
"""Seconds that opening it waits for the server, at most: it has something to say without."""
CLIP = timedelta(minutes=5)


class TemplateFile(Text):
    """What it names is looked for when it is opened; its attributes come from memory."""

    def __init__(self, context: Context) -> None:
        super().__init__(TEMPLATE)
        self._context = context
        self._found: tuple[Camera, Archive, Interval] | None = None
        self._made: tuple[object, bytes] = (None, b"")

    def snapshot(self) -> Snapshot:
        return Snapshot(self._text(), int(self._context.mounted_at * SECOND))

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("it is read-only")
        with trio.move_on_after(min(WAITS, self._context.timeout)):
            # Where nothing can be found it says what is known.
            with contextlib.suppress(ExportfsError):
                await self._look()
        return await super().open(flags)

    async def _look(self) -> None:
        """For a camera with footage: the one that was exported before, or the first that can be."""
        context = self._context
        await context.cameras.fresh()
        origin, storage = self._exported()
        candidates = [camera for _, camera in context.cameras][:LOOKED_AT]
        candidates = [one for one in candidates if one.exportable is not False and one.enabled]
        candidates.sort(key=lambda camera: (camera.access_point != origin, camera.has_archives is False))
        for camera in candidates[:LOOKS]:
            detailed = await context.cameras.detailed(camera.access_point)
            archive = next((one for one in detailed.archives if one.access_point == storage), None)
            found = await newest(context, detailed, archive if camera.access_point == origin else None)
            if found is not None:
                self._found = (detailed, *found)
                return

    def _exported(self) -> tuple[str | None, str | None]:
        entries = list(self._context.catalogue)[-LOOKED_AT:]
        return template_source(entry.session.options for entry in entries)

    def _text(self) -> bytes:
        if self._found is not None:
            camera, archive, (begin, end) = self._found
            return _request(camera.access_point, archive.access_point, from_unix_ms(begin), from_unix_ms(end))
        minute = int(self._context.wall() // 60)
        made_for = (self._context.catalogue.changes, minute)
        if self._made[0] != made_for:
            stop = datetime.fromtimestamp(minute * 60, UTC) - CLIP
            self._made = (made_for, _request(*self._exported(), stop - CLIP, stop))
        return self._made[1]


def _request(camera: str | None, archive: str | None, begin: datetime, end: datetime) -> bytes:
    return template(camera=camera, archive=archive, begin=begin, end=end).encode("utf-8", "replace")
