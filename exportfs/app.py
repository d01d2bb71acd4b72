"""Wires the parts of one mount and owns its nursery. Nothing here decides anything."""

import hashlib
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from exportfs.cameras.catalogue import Cameras
from exportfs.cameras.footage import FootageReader
from exportfs.config import MountConfig
from exportfs.content.library import Library
from exportfs.content.line import Line
from exportfs.directories import NoHomeDirectory, current_umask, state_directory
from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import check_mountpoint
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.session import FuseSession
from exportfs.memory import Watch
from exportfs.metrics import RequestCounters
from exportfs.pages.rendering import load as load_pages
from exportfs.processor import BusySeconds
from exportfs.rpc.download import Downloads
from exportfs.rpc.login import AskCode
from exportfs.rpc.server import Server
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.control import Actions
from exportfs.sessions.journal import Journal
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.keepalive import KeepAliveConfig
from exportfs.sessions.keeper import Keeper
from exportfs.sessions.ledger import Ledger
from exportfs.sessions.starter import Submitter, new_key
from exportfs.supervision import Notifier, explain_on_signal
from exportfs.vfs.context import Context
from exportfs.vfs.filesystem import Filesystem
from exportfs.vfs.inodes import Inodes
from exportfs.vfs.metrics.file import MetricsFile
from exportfs.vfs.metrics.sources import Sources
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity, StatusMaker

log = logging.getLogger(__name__)


_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


LOAD_SHARE = 0.5
"""Part of the timeout that the journal has for its answer when a mount begins."""


def journal_path(config: MountConfig) -> Path:
    """Where what was started on this server as this user is recorded. Raises NoHomeDirectory."""
    folder = config.state_dir or state_directory()
    identity = f"{config.server.address}\n{config.server.user or ''}"
    host = "".join(char if char.isalnum() or char in ".-" else "_" for char in config.server.host)
    return folder / f"{host}_{config.server.port}_{hashlib.sha256(identity.encode()).hexdigest()[:12]}.jsonl"


def journal_of(config: MountConfig) -> Journal:
    """What `journal_path` says. A mount that starts nothing does without. Raises NoHomeDirectory."""
    try:
        path = journal_path(config)
    except NoHomeDirectory:
        if not config.read_only:
            raise
        path = Path(os.devnull)
    return Journal(JournalFile(path), read_only=config.read_only)


class Mount:
    """One mount from start to end. `run` is the whole of it."""

    def __init__(
        self,
        config: MountConfig,
        *,
        ask_code: AskCode | None = None,
        hang_up: Callable[[], bool] | None = None,
        log_lines_dropped: Callable[[], int] = int,
    ) -> None:
        """`hang_up` is called upon SIGHUP and says whether the mount goes on; None: SIGHUP ends it.
        `log_lines_dropped`: how many there were, for `.metrics`."""
        self.config = config
        self._ask_code = ask_code
        self._hang_up = hang_up
        self._log_lines_dropped = log_lines_dropped
        self._notifier = Notifier()
        self._journal: Journal | None = None

    async def run(self, ready: Callable[[], None]) -> None:
        """Logs in, mounts, calls `ready`, and serves until it is unmounted or told to end by a signal.

        Raises ExportfsError with what to do, where it cannot begin.
        """
        config = self.config
        server = Server(config.server, timeout=config.timeout, ask_code=self._ask_code)
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._end_on_signal, nursery.cancel_scope)
                nursery.start_soon(for_ever, explain_on_signal)
                await self._check_mountpoint()
                await server.connect(config.timeout / 2)
                await server.login.start()
                await self._serve(nursery, server, ready)
                nursery.cancel_scope.cancel()
        finally:
            # Also after a signal the login must not stay behind; `close` is bounded.
            with trio.CancelScope(shield=True):
                if self._journal is not None:
                    await self._journal.close()
                await server.close()

    async def _check_mountpoint(self) -> None:
        """In a thread: what it lies in may hang."""
        mountpoint = self.config.mountpoint
        with trio.move_on_after(self.config.timeout / 2):
            await trio.to_thread.run_sync(check_mountpoint, mountpoint, abandon_on_cancel=True)
            return
        raise ExportfsError(f"the mount point {mountpoint} does not answer: its file system hangs")

    async def _serve(self, nursery: trio.Nursery, server: Server, ready: Callable[[], None]) -> None:
        config = self.config
        catalogue = Catalogue(server, refresh=config.refresh, timeout=config.timeout)
        nursery.start_soon(for_ever, catalogue.run)
        await catalogue.update()
        self._journal = journal_of(config)
        filesystem, context, activity = await assemble(
            config, nursery, server, self._journal, catalogue, self._log_lines_dropped
        )
        operations = ExportOperations(filesystem, context.owner, activity, timeout=config.timeout)
        fuse = FuseSession(operations, config.mountpoint)
        source = config.source or config.server.address
        fuse.open(source=source, read_only=config.read_only, allow_other=config.allow_other)
        try:
            catalogue.on_gone = fuse.session_gone
            nursery.start_soon(for_ever, fuse.end_when_unmounted)
            start_background(nursery, server, context)
            line = context.library.line

            def changed() -> None:
                fuse.read_ahead(line.kernel_ahead)

            line.changed = changed
            changed()
            nursery.start_soon(for_ever, fuse.keep_read_ahead)
            nursery.start_soon(for_ever, self._notifier.keep_telling)
            nursery.start_soon(for_ever, partial(trio.to_thread.run_sync, load_pages, abandon_on_cancel=True))
            ready()
            self._notifier.tell("READY=1", f"STATUS=serving {config.server.address} at {config.mountpoint}")
            log.info("serving %s at %s", config.server.address, config.mountpoint)
            await fuse.serve()
        finally:
            self._notifier.tell("STOPPING=1")
            fuse.close()
            log.info("ended the mount at %s", config.mountpoint)

    async def _end_on_signal(
        self, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        # What was ignored when we were started stays ignored: nohup, or Ctrl-C for a script's background job.
        wanted = {number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN}
        if self._hang_up is not None:
            wanted.add(signal.SIGHUP)
        if not wanted:
            task_status.started()
            return
        # What trio restores at the end must not be the default, which would kill us amid unmounting: there is no moment
        # without a handler of ours. What it takes before trio does counts as well: nobody sends it twice.
        taken: list[int] = []
        for ours in wanted:
            signal.signal(ours, lambda number, frame: taken.append(number))
        with trio.open_signal_receiver(*wanted) as signals:
            task_status.started()
            if not any(self._ends_on(number) for number in taken):
                async for number in signals:
                    if self._ends_on(number):
                        break
            scope.cancel()
        # One is enough: a second one, from somebody impatient or from systemd to all of a unit, must not end us amid
        # unmounting. That is bounded, as is closing the login.
        for number in wanted:
            signal.signal(number, signal.SIG_IGN)

    def _ends_on(self, number: int) -> bool:
        """Whether this signal ends the mount; the other one is done with here."""
        if number == signal.SIGHUP and self._hang_up is not None and self._hang_up():
            log.info("the log was opened anew on SIGHUP")
            return False
        log.info("ending on %s", signal.Signals(number).name)
        return True


async def assemble(
    config: MountConfig,
    nursery: trio.Nursery,
    server: Server,
    journal: Journal,
    catalogue: Catalogue,
    log_lines_dropped: Callable[[], int] = int,
) -> tuple[Filesystem, Context, Activity]:
    """The filesystem object and what stands behind it; starts nothing. Raises ExportfsError for the journal."""
    ledger = Ledger(await journal.load(config.timeout * LOAD_SHARE), new_key)
    ledger.records.on_change = journal.change
    ledger.records.prune({entry.id for entry in catalogue}, time.time())
    keeper = Keeper(
        server,
        catalogue,
        KeepAliveConfig(keep=config.keep_alive, refresh=config.refresh),
        lambda session_id: ledger.records.of_session(session_id) is not None,
        timeout=config.timeout,
    )
    for record in ledger.records.all:
        if record.session_id is None:
            continue
        if record.destroyed:
            catalogue.destroyed(record.session_id)  # the server may list it for some seconds more
        else:
            keeper.watch(record.session_id)
    line = Line(BusySeconds())
    requests = RequestCounters()
    context = Context(
        catalogue=catalogue,
        keeper=keeper,
        submitter=Submitter(
            server, catalogue, ledger, journal, keep=keeper.watch, counters=requests, timeout=config.timeout
        ),
        actions=Actions(server, catalogue, ledger.records),
        ledger=ledger,
        journal=journal,
        requests=requests,
        library=Library(
            Downloads(server.connections, server.login, line, config.server),
            server,
            line=line,
            cache_size=config.cache_size,
            max_downloads=config.max_downloads,
            timeout=config.timeout,
            received=Watch(config.cache_size).received,
        ),
        cameras=Cameras(server.site, timeout=config.timeout, start_soon=nursery.start_soon),
        footage=FootageReader(server.site, timeout=config.timeout),
        inodes=Inodes(),
        owner=Owner(
            os.getuid() if config.uid is None else config.uid,
            os.getgid() if config.gid is None else config.gid,
            current_umask() if config.umask is None else config.umask,
            config.new_mode,
        ),
        wall=time.time,
        mounted_at=time.time(),
        mountpoint=config.mountpoint,
        timeout=config.timeout,
        read_only=config.read_only,
        agent=config.agent,
        start_soon=nursery.start_soon,
    )
    activity = Activity(trio.current_time, time.time)
    status = StatusMaker(context, activity, lambda: _server_status(config, server), server.login.status)
    calls, login = server.connections.calls, server.login.figures
    metrics = Sources(context, activity, config.server.address, calls, login, log_lines_dropped)
    return Filesystem(context, status, MetricsFile(metrics)), context, activity


def _server_status(config: MountConfig, server: Server) -> dict[str, object]:
    heard = server.last_contact
    return {
        "address": config.server.address,
        "tls": not config.server.insecure,
        "last_contact": None if heard is None else round(trio.current_time() - heard, 1),
    }


def start_background(nursery: trio.Nursery, server: Server, context: Context) -> None:
    """Starts what runs beside the answering of calls."""
    downloads = context.library.source
    if isinstance(downloads, Downloads):
        nursery.start_soon(for_ever, downloads.run)
    for task in (server.login.keep, context.keeper.run, context.library.reap, context.submitter.watch):
        nursery.start_soon(for_ever, task)


async def for_ever(task: Callable[[], Awaitable[None]]) -> None:
    """Runs a background task; an unexpected error is logged and does not end the mount."""
    while True:
        try:
            await task()
            return
        except Exception:
            log.exception("background task %s crashed; restarting in 1 s", _name_of(task))
            await trio.sleep(1.0)


def _name_of(task: Callable[..., object]) -> str:
    while isinstance(task, partial):
        task = task.args[0] if task.args and callable(task.args[0]) else task.func
    return getattr(task, "__qualname__", repr(task))


def unwrapped(group: BaseException) -> BaseException:
    """The one error within exception groups, or the group."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group


def run(
    config: MountConfig,
    ready: Callable[[], None],
    *,
    ask_code: AskCode | None = None,
    hang_up: Callable[[], bool] | None = None,
    log_lines_dropped: Callable[[], int] = int,
) -> None:
    """Runs one mount in this process. Raises ExportfsError with what to do, where it cannot begin."""
    try:
        mount = Mount(config, ask_code=ask_code, hang_up=hang_up, log_lines_dropped=log_lines_dropped)
        trio.run(mount.run, ready)
    except BaseExceptionGroup as group:
        error = unwrapped(group)
        if isinstance(error, ExportfsError | KeyboardInterrupt):
            raise error from None
        expected, others = group.split(ExportfsError)
        if expected is not None and others is None:
            raise _first(expected) from None
        raise


def _first(group: BaseException) -> BaseException:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group
