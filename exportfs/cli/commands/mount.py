"""`mount`."""

import contextlib
import ctypes
import gc
import os
import resource
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from exportfs import memory
from exportfs.cli import logs
from exportfs.cli.daemon.background import in_background
from exportfs.cli.failures import complain
from exportfs.cli.params.mount_options import PASSWORD_VARIABLE, mount_options
from exportfs.cli.params.quantities import FILE
from exportfs.cli.server import GIVEN_SERVER, server_config, use_profile
from exportfs.cli.terminal.output import on_terminal
from exportfs.config import MountConfig
from exportfs.directories import current_umask
from exportfs.doctor import server as doctor_server
from exportfs.doctor.packages import package_trouble
from exportfs.errors import AccessDenied, ExportfsError, TimedOut, Unreachable
from exportfs.fuse.mountpoint import place_of
from exportfs.supervision import hold_stack_signal

PR_SET_DUMPABLE = 4
"""Of prctl(2)."""


@click.command()
@click.argument("server", metavar="SERVER[:PORT]", is_eager=True, callback=use_profile)
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False, type=FILE)
@mount_options
@click.pass_context
def mount(ctx: click.Context, /, server: str, **_: Any) -> None:
    """Mount a server's exports as a folder.

    SERVER may be the name of a profile in the configuration, which may name the MOUNTPOINT too. Returns once the
    mount can be used, and serves it in the background.
    """
    config = mount_config(ctx, server)
    forget_variable(PASSWORD_VARIABLE)
    if config.allow_other:
        check_allow_other()
        if say := useless_to_others(config):
            complain(say)
    if config.foreground:
        serve(config, lambda: None)
    else:
        in_background(lambda ready: serve(config, ready))


def mount_config(ctx: click.Context, address: str) -> MountConfig:
    """Of the options of `mount`. Raises InvalidArgument, or UsageError without a mount point."""
    values = ctx.params
    if values["mountpoint"] is None:
        raise click.UsageError("MOUNTPOINT is missing: give it, or `mountpoint` in the profile")
    log_file = values.get("log_file")
    agent = values.get("agent")
    return MountConfig(
        server=server_config(ctx, address),
        mountpoint=place_of(Path(str(values["mountpoint"]))),
        source=ctx.meta[GIVEN_SERVER],
        agent=str(agent) if agent else None,
        read_only=bool(values["read_only"]),
        allow_other=bool(values["allow_other"]),
        uid=values["uid"],
        gid=values["gid"],
        umask=values["umask"],
        new_mode=values["new_mode"],
        refresh=values["refresh"],
        timeout=values["timeout"],
        keep_alive=values["keep_alive"],
        cache_size=values["cache_size"],
        max_downloads=values["max_downloads"],
        log_file=log_file.absolute() if isinstance(log_file, Path) else None,
        log_level=str(values["log_level"]),
        foreground=bool(values["foreground"]),
    )


def serve(config: MountConfig, ready: Callable[[], None]) -> None:
    """Runs one mount in this process. Raises ExportfsError with what to do, where it cannot begin."""
    hold_stack_signal()
    # The log has a thread: what that took first would be an arena for others, too.
    memory.arrange(config.cache_size)
    log = logs.start(config.log_level, config.log_file, foreground=config.foreground)
    try:
        _serve(config, ready, log)
    finally:
        log.stop()


def _serve(config: MountConfig, ready: Callable[[], None], log: logs.Log) -> None:
    without_core_dumps()
    try:
        from exportfs import app  # gRPC and FUSE, not before the fork
    except Exception as error:
        if trouble := package_trouble(error):
            raise ExportfsError(trouble) from error
        raise

    started = False

    def usable() -> None:
        nonlocal started
        started = True
        # What is there now stays: going through it for garbage would stop all answers for 25 ms now and then.
        gc.freeze()
        ready()
        log.collect_stray_output()

    hang_up = log.hang_up if log.takes_hangups else None
    try:
        app.run(
            config,
            usable,
            ask_code=ask_code if on_terminal() else None,
            hang_up=hang_up,
            log_lines_dropped=lambda: log.dropped,
        )
    except (Unreachable, TimedOut) as error:
        if started:
            raise
        raise type(error)(explained(config, error)) from None


def explained(config: MountConfig, error: ExportfsError) -> str:
    """Why the server cannot be reached and what to do; the error's own words where that cannot be found out."""

    # In a thread: looking up a name takes as long as it takes.
    within = min(doctor_server.CONNECT_WITHIN, config.timeout / 6)
    found: list[str] = []
    thread = threading.Thread(
        target=lambda: found.append(doctor_server.cause(config.server, within) or ""), daemon=True
    )
    thread.start()
    thread.join(max(3.0, config.timeout / 2))  # all roots of a system take a second to look through
    if found and found[0]:
        return found[0]
    return f"{config.server.address}: {error}; see `axxon-exportfs doctor {config.server.address}`"


def ask_code() -> str:
    """The second factor, from the terminal. Raises AccessDenied where there is no answer."""
    try:
        code: str = click.prompt("Verification code", err=True)
    except click.Abort:
        raise AccessDenied("no verification code was given: try again") from None
    return code


def forget_variable(name: str) -> None:
    """Takes it out of the environment: our children, the first of which is fusermount3, do not get it, and it is
    no longer to be seen in /proc/PID/environ, which shows what the process began with."""
    value = os.environ.pop(name, None)
    if value is None:
        return
    with contextlib.suppress(OSError, ValueError), open("/proc/self/stat", "rb") as file:
        # Fields 50 and 51 of proc(5), env_start and env_end, counted after the name in brackets.
        fields = file.read().rpartition(b")")[2].split()
        start, end = int(fields[47]), int(fields[48])
        wanted = os.fsencode(f"{name}={value}")
        place = ctypes.string_at(start, end - start).find(wanted)
        if place >= 0:
            ctypes.memset(start + place, 0, len(wanted))


def without_core_dumps() -> None:
    """Passwords and tokens are in our memory: neither a core file nor a debugger of the same user may hold them."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, AttributeError):
        # The limit does not hold where the kernel hands dumps to a program.
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def useless_to_others(config: MountConfig) -> str:
    """A sentence where other users may come in and then see nothing; else empty."""
    mask = current_umask() if config.umask is None else config.umask
    if mask & 0o005 != 0o005 or (config.gid is not None and mask & 0o050 != 0o050):
        return ""
    return f"--allow-other lets nobody in with the umask {mask:03o}: add --umask 022, or --umask 027 and --gid GROUP"


def check_allow_other(conf: Path = Path("/etc/fuse.conf")) -> None:
    """Raises ExportfsError where the system does not let this user offer the mount to others."""
    if os.geteuid() == 0:
        return
    lines = conf.read_text(errors="replace").splitlines() if conf.exists() else []
    if "user_allow_other" not in (line.split("#")[0].strip() for line in lines):
        raise ExportfsError(
            f"--allow-other needs the line `user_allow_other` in {conf}: ask an administrator to add it"
        )
