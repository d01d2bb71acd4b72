"""One interface to a tree, and two implementations: the filesystem object in this process, and a real mount.

Both speak with a simulator over gRPC. The mount is a subprocess: a process that uses its own mount can deadlock.
"""

import contextlib
import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import trio

from exportfs import app
from exportfs.config import MountConfig, ServerConfig
from exportfs.errors import ExportfsError
from exportfs.fuse.errnos import errno_of
from exportfs.rpc.server import Server
from exportfs.sessions.catalogue import Catalogue
from exportfs.simulator import Certificates
from exportfs.vfs.filesystem import Filesystem
from exportfs.vfs.node import Changes, Node
from tests.support import prepared

Answer = TypeVar("Answer")
CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
ARCHIVE_REQUEST: dict[str, Any] = {
    "archive": {
        "sources": [{"origin": CAMERA}],
        "startTimestamp": "20260511T080411",
        "endTimestamp": "20260511T080421",
    },
    "stream": {"format": "MP4"},
}
OURS = [sys.executable, "-m", "exportfs"]
REFRESH = 0.2
"""Seconds within which a mount of the tests shows what changes on the server."""
DEADLINE = 20.0
"""Seconds after which a test that waits for something gives up."""


def eventually(what: Any, *, within: float = DEADLINE, every: float = 0.02) -> Any:
    """The first true value that `what()` returns. For effects of other processes, which nobody can await."""
    end = time.monotonic() + within
    while True:
        value = what()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"it did not happen within {within} s")
        time.sleep(every)


class Tree(Protocol):
    """What the behaviour suite asks of a tree; paths relative to its root. Errors are OSError with an errno."""

    def listdir(self, path: str) -> list[str]: ...
    def stat(self, path: str) -> os.stat_result: ...
    def readlink(self, path: str) -> str: ...
    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes: ...
    def write(self, path: str, data: bytes, *, append: bool = False) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def mkdir(self, path: str) -> None: ...
    def truncate(self, path: str, size: int) -> None: ...
    def chmod(self, path: str, mode: int) -> None: ...
    def getxattr(self, path: str, name: str) -> bytes: ...
    def listxattr(self, path: str) -> list[str]: ...
    def statvfs(self) -> os.statvfs_result: ...


class MountedTree:
    """A real mount, through the operating system."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, path: str) -> str:
        return os.path.join(self.root, path) if path else os.fspath(self.root)

    def listdir(self, path: str) -> list[str]:
        return os.listdir(self.path(path))

    def stat(self, path: str) -> os.stat_result:
        return os.lstat(self.path(path))

    def readlink(self, path: str) -> str:
        return os.readlink(self.path(path))

    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        with open(self.path(path), "rb", buffering=0) as file:
            file.seek(offset)
            if length < 0:
                return file.readall()
            data = bytearray()
            while len(data) < length:
                piece = file.read(length - len(data))
                if not piece:
                    break
                data += piece
            return bytes(data)

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        flags = os.O_WRONLY | (os.O_APPEND if append else os.O_CREAT | os.O_TRUNC)
        descriptor = os.open(self.path(path), flags, 0o644)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.close(descriptor)
            raise
        os.close(descriptor)

    def rename(self, old: str, new: str) -> None:
        os.rename(self.path(old), self.path(new))

    def unlink(self, path: str) -> None:
        os.unlink(self.path(path))

    def rmdir(self, path: str) -> None:
        os.rmdir(self.path(path))

    def mkdir(self, path: str) -> None:
        os.mkdir(self.path(path))

    def truncate(self, path: str, size: int) -> None:
        os.truncate(self.path(path), size)

    def chmod(self, path: str, mode: int) -> None:
        os.chmod(self.path(path), mode)

    def getxattr(self, path: str, name: str) -> bytes:
        return os.getxattr(self.path(path), name, follow_symlinks=False)

    def listxattr(self, path: str) -> list[str]:
        return os.listxattr(self.path(path), follow_symlinks=False)

    def statvfs(self) -> os.statvfs_result:
        return os.statvfs(self.root)


class InProcessTree:
    """The filesystem object, in a trio run of a thread of its own."""

    def __init__(self, config: MountConfig) -> None:
        self._config = config
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="filesystem", daemon=True)
        self._thread.start()
        self._ready.wait(DEADLINE)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            trio.run(self._main)
        except BaseException as error:
            self._failure = app.unwrapped(error)
        self._ready.set()

    async def _main(self) -> None:
        config = self._config
        server = Server(config.server, timeout=config.timeout)
        journal = app.journal_of(config)
        self._token = trio.lowlevel.current_trio_token()
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                await server.login.start()
                catalogue = Catalogue(server, refresh=config.refresh, timeout=config.timeout)
                nursery.start_soon(app.for_ever, catalogue.run)
                await catalogue.update()
                self.filesystem, self.context, _ = await app.assemble(
                    config, nursery, server, journal, catalogue
                )
                app.start_background(nursery, server, self.context)
                self._ready.set()
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await journal.close()
                await server.close()

    def _call(self, function: Callable[..., Awaitable[Answer]], *args: Any) -> Answer:
        async def bounded() -> Answer:
            with trio.fail_after(self._config.timeout + 5):
                return await function(*args)

        try:
            return trio.from_thread.run(bounded, trio_token=self._token)
        except ExportfsError as error:
            raise OSError(errno_of(error), str(error)) from None

    async def _walk(self, path: str, *, follow: bool = False) -> Node:
        fs: Filesystem = self.filesystem
        node: Node = fs.root
        parts = [part for part in path.split("/") if part]
        done: list[str] = []
        while parts:
            part = parts.pop(0)
            node = await fs.lookup(node.ino, part)
            if stat.S_ISLNK(node.attributes().mode) and (parts or follow):
                target = "/".join([*done, fs.target(node.ino)])
                return await self._walk("/".join([_normal(target), *parts]), follow=follow)
            done.append(part)
        return node

    async def _parent(self, path: str) -> tuple[Node, str]:
        folder, _, name = path.rpartition("/")
        return await self._walk(folder, follow=True), name

    def listdir(self, path: str) -> list[str]:
        async def work() -> list[str]:
            fs = self.filesystem
            handle = fs.open_directory((await self._walk(path, follow=True)).ino)
            names: list[str] = []
            while True:
                fitted = 0

                def emit(name: str, node: Node, after: int) -> bool:
                    nonlocal fitted
                    if fitted == 7:  # the kernel's buffer is full at some point, too
                        return False
                    node.attributes()
                    names.append(name)
                    fitted += 1
                    return True

                await fs.read_directory(handle, len(names), emit)
                if not fitted:
                    break
            fs.close_directory(handle)
            return names

        return self._call(work)

    def stat(self, path: str) -> os.stat_result:
        async def work() -> os.stat_result:
            a = (await self._walk(path)).attributes()
            seconds = a.mtime_ns // 10**9
            return os.stat_result(
                (a.mode, a.ino, 0, a.nlink, 0, 0, a.size, seconds, seconds, seconds),
                {"st_mtime_ns": a.mtime_ns},
            )

        return self._call(work)

    def readlink(self, path: str) -> str:
        async def work() -> str:
            return self.filesystem.target((await self._walk(path)).ino)

        return self._call(work)

    def read(self, path: str, offset: int = 0, length: int = -1) -> bytes:
        async def work() -> bytes:
            fs = self.filesystem
            node = await self._walk(path, follow=True)
            handle, _ = await fs.open(node.ino, os.O_RDONLY)
            try:
                wanted = node.attributes().size - offset if length < 0 else length
                data = bytearray()
                while len(data) < wanted:
                    piece = await fs.read(handle, offset + len(data), min(131072, wanted - len(data)))
                    if not piece:
                        break
                    data += piece
                return bytes(data)
            finally:
                await fs.release(handle)

        return self._call(work)

    def write(self, path: str, data: bytes, *, append: bool = False) -> None:
        async def work() -> None:
            fs = self.filesystem
            parent, name = await self._parent(path)
            try:
                node = await self._walk(path, follow=True)
                handle, _ = await fs.open(node.ino, os.O_WRONLY | (0 if append else os.O_TRUNC))
                offset = node.attributes().size if append else 0
            except ExportfsError:
                if append:
                    raise
                _, handle, _ = await fs.create(parent.ino, name, 0o644, os.O_WRONLY | os.O_CREAT)
                offset = 0
            try:
                for start in range(0, len(data), 131072):
                    await fs.write(handle, offset + start, data[start : start + 131072])
                await fs.flush(handle)
            finally:
                with contextlib.suppress(ExportfsError):
                    await fs.release(handle)

        self._call(work)

    def rename(self, old: str, new: str) -> None:
        async def work() -> None:
            (a, x), (b, y) = await self._parent(old), await self._parent(new)
            await self.filesystem.rename(a.ino, x, b.ino, y, replace=True)

        self._call(work)

    def unlink(self, path: str) -> None:
        async def work() -> None:
            parent, name = await self._parent(path)
            await self.filesystem.unlink(parent.ino, name)

        self._call(work)

    def rmdir(self, path: str) -> None:
        async def work() -> None:
            parent, name = await self._parent(path)
            await self.filesystem.rmdir(parent.ino, name)

        self._call(work)

    def mkdir(self, path: str) -> None:
        async def work() -> None:
            await self._parent(path)
            self.filesystem.refuse_creation()

        self._call(work)

    def truncate(self, path: str, size: int) -> None:
        async def work() -> None:
            await self.filesystem.change((await self._walk(path, follow=True)).ino, Changes(size=size))

        self._call(work)

    def chmod(self, path: str, mode: int) -> None:
        async def work() -> None:
            await self.filesystem.change((await self._walk(path, follow=True)).ino, Changes(mode=mode))

        self._call(work)

    def getxattr(self, path: str, name: str) -> bytes:
        async def work() -> bytes:
            return self.filesystem.xattr((await self._walk(path)).ino, name)

        return self._call(work)

    def listxattr(self, path: str) -> list[str]:
        async def work() -> list[str]:
            return self.filesystem.xattrs((await self._walk(path)).ino)

        return self._call(work)

    def statvfs(self) -> os.statvfs_result:
        space = self.filesystem.space()
        blocks, free = (space.used + space.free) // 4096, space.free // 4096
        files = space.files + space.free_files
        return os.statvfs_result(
            (4096, 4096, blocks, free, free, files, space.free_files, space.free_files, 0, 255)
        )


def _normal(path: str) -> str:
    return os.path.normpath("/" + path).lstrip("/")


class MountProcess:
    """A mount as its users run it, in the foreground of a subprocess; `fresh`: of an interpreter of its own, for tests
    of how it starts."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *options: str,
        env: dict[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        self.mountpoint = folder / "mnt"
        self.log = folder / "mount.log"
        self.address = address
        self._folder = folder
        self._options = options
        self._env = env or {}
        self._fresh = fresh
        self.process: subprocess.Popen[bytes] | None = None
        self.checked = True
        """Whether a traceback in its log fails the test."""
        self.tree = MountedTree(self.mountpoint)

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> "MountProcess":
        """Returns when the mount is usable."""
        if not is_mounted(self.mountpoint):  # a crashed one cannot even be looked at
            self.mountpoint.mkdir(parents=True, exist_ok=True)
        # A test that is killed cannot unmount. (It would also end with a thread that is not the main one.)
        main = threading.current_thread() is threading.main_thread()
        words = ["mount", self.address, os.fspath(self.mountpoint), "--foreground", *self._options]
        environment = {**os.environ, "XDG_STATE_HOME": os.fspath(self._folder / "state"), **self._env}
        assert not (self._fresh and prepared.INTERVALS in environment), (
            "an interpreter of its own has its own"
        )
        with self.log.open("ab") as log:
            if not self._fresh and prepared.shared().serves(environment):
                self.process = prepared.shared().start(words, environment, log.fileno(), ends_with_us=main)
            else:
                through = ["setpriv", "--pdeathsig", "TERM", "--"] if main else []
                self.process = subprocess.Popen(
                    [*through, *OURS, *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                )
        eventually(self._usable)
        return self

    def _usable(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the mount ended with {self.process.returncode}: {self.log.read_text()}")
        with contextlib.suppress(OSError):  # left behind by one before, and not replaced yet
            # Not `statvfs`: between the one before and ours the folder itself would answer.
            return is_mounted(self.mountpoint) and bool(os.stat(self.mountpoint / "README.txt"))
        return False

    def kill(self) -> None:
        """As a crash would: nothing is cleaned up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it as a user would, and returns the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(DEADLINE)

    def clean_up(self) -> None:
        """Leaves nothing behind, whatever happened."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(DEADLINE)
        if is_mounted(self.mountpoint):
            subprocess.run(["fusermount3", "-u", "-z", os.fspath(self.mountpoint)], check=False)

    def check_log(self) -> None:
        """No traceback, nothing that nobody foresaw."""
        text = self.log.read_text()
        assert "Traceback" not in text, text


def is_mounted(path: Path) -> bool:
    """From the kernel's table: asks nothing of the mount itself."""
    escaped = re.sub(r"[ \t\n\\]", lambda match: f"\\{ord(match[0]):03o}", str(path))
    # Of bytes: a path may hold what else counts as the end of a line in text.
    table = Path("/proc/self/mountinfo").read_bytes().split(b"\n")
    return any(os.fsencode(f" {escaped} ") in line and b"fuse.axxon-exportfs" in line for line in table)


@contextlib.contextmanager
def mounted(address: str, folder: Path, *options: str) -> Iterator[MountProcess]:
    """A real mount for a while; its log must be free of tracebacks."""
    mount = MountProcess(address, folder, *options)
    try:
        yield mount.start()
        mount.check_log()
    finally:
        mount.clean_up()


def security(tls: Certificates | None) -> tuple[str, ...]:
    """Options for a server with or without TLS."""
    if tls is None:
        return ("--insecure",)
    return ("--ca-file", os.fspath(tls.ca_file), "--tls-server-name", tls.name)


def config_for(address: str, folder: Path, tls: Certificates | None = None, **changes: Any) -> MountConfig:
    """Of an in-process tree."""
    host, port = address.rsplit(":", 1)
    server = ServerConfig(host, int(port), insecure=True)
    if tls is not None:
        server = ServerConfig(host, int(port), ca_file=tls.ca_file, tls_server_name=tls.name)
    config = MountConfig(
        server,
        folder / "mnt",
        state_dir=folder / "state",
        refresh=REFRESH,
        timeout=5.0,
    )
    return replace(config, **changes)


def expect_denied(function: Any, *args: Any, number: int = errno.EPERM) -> None:
    """The call fails with this errno; for users other than root it may be EACCES, as the kernel looks at the mode
    before it asks the mount."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 # which one is looked at below
        function(*args)
    assert caught.value.errno == number or (caught.value.errno == errno.EACCES and os.geteuid() != 0), (
        caught.value
    )


def expect_errno(number: int, function: Any, *args: Any) -> None:
    """The call fails with this errno."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 # which one is looked at below
        function(*args)
    got = caught.value.errno or 0
    assert got == number, f"{errno.errorcode.get(got)} instead of {errno.errorcode[number]}: {caught.value}"
