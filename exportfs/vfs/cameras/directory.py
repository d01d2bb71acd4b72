"""`cameras/` and the directory of each camera."""

import stat

from exportfs.cameras.footage_names import asked_for
from exportfs.errors import Gone, NotFound
from exportfs.site import Camera
from exportfs.vfs.cameras.files import LISTED, FootageFile, everything, listed_file
from exportfs.vfs.context import World
from exportfs.vfs.inodes import CAMERAS
from exportfs.vfs.node import SECOND, Attributes, Directory, Entries, Node, NodeMaker

KEEP = 1.0
"""Seconds for which the kernel may keep what it was told: cameras seldom come and go."""


class CamerasDirectory(Directory):
    """`cameras/` itself. Its attributes come from memory, whatever the server does."""

    __slots__ = ("_world",)

    def __init__(self, world: World) -> None:
        super().__init__(CAMERAS)
        self._world = world

    def attributes(self) -> Attributes:
        world = self._world
        return Attributes(
            CAMERAS,
            stat.S_IFDIR | 0o555,
            nlink=2 + len(world.cameras),
            mtime_ns=int(world.mounted_at * SECOND),
            keep=KEEP,
        )

    async def lookup(self, name: str) -> Node:
        cameras = self._world.cameras
        # What file managers look for (.Trash, .hidden, .directory) is never a camera's.
        camera = None if name.startswith(".") else await cameras.named(name)
        if camera is None:
            raise NotFound("no such camera")
        if cameras.known(name) is camera:
            return camera_directory(self._world, camera)
        world, point = self._world, camera.access_point
        return world.inodes.intern(("camera link", point), lambda ino: CameraLink(ino, world, point))

    async def entries(self) -> Entries:
        await self._world.cameras.fresh()
        listed = list(self._world.cameras)
        return Entries([name for name, _ in listed], _Cameras(self._world, [camera for _, camera in listed]))


class _Cameras(NodeMaker):
    def __init__(self, world: World, listed: list[Camera]) -> None:
        self._world = world
        self._listed = listed

    def node(self, place: int, name: str) -> Node:
        return camera_directory(self._world, self._listed[place])


def camera_directory(world: World, camera: Camera) -> "CameraDirectory":
    """The node of a camera."""
    point = camera.access_point
    return world.inodes.intern(("camera", point), lambda ino: CameraDirectory(ino, world, point))


class OfCamera(Node):
    """A node that belongs to a camera and goes with it."""

    __slots__ = ("access_point", "world")

    def __init__(self, ino: int, world: World, access_point: str) -> None:
        super().__init__(ino)
        self.world = world
        self.access_point = access_point

    @property
    def camera(self) -> Camera:
        """Raises Gone."""
        camera = self.world.cameras.get(self.access_point)
        if camera is None:
            raise Gone("the server no longer lists this camera")
        return camera


class CameraLink(OfCamera):
    """`cameras/<access point, percent-encoded>`: leads to the directory, whatever its name."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        size = len(self.target().encode())
        moment = int(self.world.mounted_at * SECOND)
        return Attributes(self.ino, stat.S_IFLNK | 0o777, size, mtime_ns=moment, keep=KEEP)

    def target(self) -> str:
        return self.world.cameras.directory(self.camera)


class CameraDirectory(OfCamera, Directory):
    """One camera."""

    __slots__ = ()

    def attributes(self) -> Attributes:
        self.camera  # noqa: B018 # raises Gone
        moment = int(self.world.mounted_at * SECOND)
        return Attributes(self.ino, stat.S_IFDIR | 0o555, nlink=2, mtime_ns=moment, keep=KEEP)

    async def lookup(self, name: str) -> Node:
        self.camera  # noqa: B018 # raises Gone
        world, point = self.world, self.access_point
        if name in LISTED:
            return listed_file(world, point, name)
        if asked_for(name, everything(world)) is None:
            raise NotFound("no such file")
        footage = world.inodes.intern(
            ("footage", point, name), lambda ino: FootageFile(ino, world, point, name), late=True
        )
        try:
            await footage.look()
        except BaseException:
            world.inodes.sweep(footage)
            raise
        return footage

    async def entries(self) -> Entries:
        return Entries(list(LISTED), _Files(self))


class _Files(NodeMaker):
    def __init__(self, directory: CameraDirectory) -> None:
        self._directory = directory

    def node(self, place: int, name: str) -> Node:
        return listed_file(self._directory.world, self._directory.access_point, name)
