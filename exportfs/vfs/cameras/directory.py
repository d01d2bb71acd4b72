"""`cameras/` and the directory of each camera."""

import stat

from exportfs.cameras.footage_names import asked_for
from exportfs.errors import Gone, NotFound
from exportfs.site import Camera
from exportfs.vfs.cameras.files import LISTED, FootageFile, everything, listed_file
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import CAMERAS
from exportfs.vfs.node import SECOND, Attributes, Directory, Entries, Node, NodeMaker

CACHE_TIMEOUT = 1.0
"""Seconds for which the kernel may keep what it was told: cameras seldom come and go."""


class CamerasDirectory(Directory):
    """`cameras/` itself. Its attributes come from memory, whatever the server does."""

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        super().__init__(CAMERAS)
        self._context = context

    def attributes(self) -> Attributes:
        context = self._context
        return Attributes(
            CAMERAS,
            stat.S_IFDIR | 0o555,
            nlink=2 + len(context.cameras),
            mtime_ns=int(context.mounted_at * SECOND),
            cache_timeout=CACHE_TIMEOUT,
        )

    async def lookup(self, name: str) -> Node:
        cameras = self._context.cameras
        # What file managers look for (.Trash, .hidden, .directory) is never a camera's.
        camera = None if name.startswith(".") else await cameras.named(name)
        if camera is None:
            raise NotFound("no such camera")
        if cameras.known(name) is camera:
            return camera_directory(self._context, camera)
        return camera_link(self._context, camera)

    async def entries(self) -> Entries:
        await self._context.cameras.fresh()
        listed = list(self._context.cameras)
        return Entries(
            [name for name, _ in listed], _Cameras(self._context, [camera for _, camera in listed])
        )


class _Cameras(NodeMaker):
    def __init__(self, context: Context, listed: list[Camera]) -> None:
        self._context = context
        self._listed = listed

    def node(self, place: int, name: str) -> Node:
        return camera_directory(self._context, self._listed[place])


def camera_directory(context: Context, camera: Camera) -> "CameraDirectory":
    """The node of a camera."""
    point = camera.access_point
    return context.inodes.intern(("camera", point), lambda ino: CameraDirectory(ino, context, point))


def camera_link(context: Context, camera: Camera) -> "CameraLink":
    """The node of the link that an access point is."""
    point = camera.access_point
    return context.inodes.intern(("camera link", point), lambda ino: CameraLink(ino, context, point))


class OfCamera(Node):
    """A node that belongs to a camera and goes with it."""

    __slots__ = ("access_point", "context")

    def __init__(self, ino: int, context: Context, access_point: str) -> None:
        super().__init__(ino)
        self.context = context
        self.access_point = access_point

    @property
    def camera(self) -> Camera:
        """Raises Gone."""
        camera = self.context.cameras.get(self.access_point)
        if camera is None:
            raise Gone("the server no longer lists this camera")
        return camera


class CameraLink(OfCamera):
    """`cameras/<access point, percent-encoded>`: leads to the directory, whatever its name."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        size = len(self.target().encode())
        moment = int(self.context.mounted_at * SECOND)
        return Attributes(self.ino, stat.S_IFLNK | 0o777, size, mtime_ns=moment, cache_timeout=CACHE_TIMEOUT)

    def target(self) -> str:
        return self.context.cameras.directory(self.camera)


class CameraDirectory(OfCamera, Directory):
    """One camera."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        self.camera  # noqa: B018 # raises Gone
        moment = int(self.context.mounted_at * SECOND)
        return Attributes(
            self.ino, stat.S_IFDIR | 0o555, nlink=2, mtime_ns=moment, cache_timeout=CACHE_TIMEOUT
        )

    async def lookup(self, name: str) -> Node:
        self.camera  # noqa: B018 # raises Gone
        context, point = self.context, self.access_point
        if name in LISTED:
            return listed_file(context, point, name)
        if asked_for(name, everything(context)) is None:
            raise NotFound("no such file")
        footage = context.inodes.intern(
            ("footage", point, name),
            lambda ino: FootageFile(ino, context, point, name),
            late=True,
            remember=True,
        )
        try:
            await footage.look()
        except BaseException:
            context.inodes.sweep(footage)
            raise
        return footage

    async def entries(self) -> Entries:
        return Entries(list(LISTED), _Files(self))


class _Files(NodeMaker):
    def __init__(self, directory: CameraDirectory) -> None:
        self._directory = directory

    def node(self, place: int, name: str) -> Node:
        return listed_file(self._directory.context, self._directory.access_point, name)
