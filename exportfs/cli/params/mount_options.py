"""The options of `mount`: of the command line, of a profile and of /etc/fstab alike, with one check each."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import click

from exportfs.cli.params.choices import Choice
from exportfs.cli.params.ownership import GROUP, USER, Octal
from exportfs.cli.params.quantities import FILE, TEXT, Duration, Size, Whole
from exportfs.config import MIB

F = TypeVar("F", bound=Callable[..., Any])

LOG_LEVELS = ("debug", "info", "warning", "error")
PASSWORD_VARIABLE = "EXPORTFS_PASSWORD"
CREDENTIAL = "axxon-exportfs.password"
"""Name of the password among the credentials that systemd hands over."""

_SERVER_OPTIONS = (
    click.option("--user", metavar="NAME", type=TEXT, help="Log in as this user. Default: no login."),
    click.option(
        "--password-file",
        metavar="FILE",
        type=FILE,
        help=f"The user's password, in a file that only its owner can read. Otherwise "
        f"{PASSWORD_VARIABLE} of the environment, systemd's credential {CREDENTIAL}, the desktop's "
        "keyring, or asked for on a terminal.",
    ),
    click.option(
        "--ca-file",
        metavar="FILE",
        type=FILE,
        help="The CA that signed the server's certificate: PEM, DER or PKCS#7. Default: the system's.",
    ),
    click.option(
        "--tls-server-name",
        metavar="NAME",
        type=TEXT,
        help="Name in the server's certificate, where it is not the address.",
    ),
    click.option(
        "--insecure",
        is_flag=True,
        help="Disable TLS. Refused with a user unless the server is on this machine.",
    ),
)

_MOUNT_OPTIONS = (
    click.option(
        "--agent", metavar="ACCESS_POINT", type=TEXT, help="Export agent for requests that name none."
    ),
    click.option("--read-only", is_flag=True, help="Never change anything on the server."),
    click.option("--allow-other", is_flag=True, help="Allow other users to access the mount."),
    click.option("--uid", metavar="USER", type=USER, help="Owner of all files. Default: who mounts."),
    click.option(
        "--gid", metavar="GROUP", type=GROUP, help="Group of all files. Default: that of who mounts."
    ),
    click.option(
        "--umask",
        metavar="MASK",
        type=Octal(0o777),
        help="Permissions that nobody has, in octal: 077 for you alone. Default: the umask of who mounts.",
    ),
    click.option(
        "--new-mode",
        metavar="MODE",
        type=Octal(0o7777),
        help="Permissions of new/, in octal: 1777 lets every user start exports. Default: 755 less the umask.",
    ),
    click.option("--foreground", is_flag=True, help="Run in the foreground and log to the terminal."),
    click.option("--log-file", metavar="FILE", type=FILE, help="Log to this file (readable by you only)."),
    click.option(
        "--log-level",
        type=Choice(LOG_LEVELS, aliases={"warn": "warning"}),
        default="info",
        show_default=True,
        help="Minimum log level.",
    ),
    click.option(
        "--refresh",
        metavar="SECONDS",
        type=Duration(least=0.1),
        default="5",
        show_default=True,
        help="Changes on the server appear within this time.",
    ),
    click.option(
        "--timeout",
        metavar="SECONDS",
        type=Duration(least=0.1),
        default="30",
        show_default=True,
        help="Longest time a call waits without progress.",
    ),
    click.option(
        "--keep-alive",
        metavar="SECONDS",
        type=Duration(),
        default="900",
        show_default=True,
        help="How long to keep a completed session after its last use.",
    ),
    click.option(
        "--cache-size",
        metavar="SIZE",
        # Below that not even the blocks of one read fit.
        type=Size(least=MIB),
        default="256M",
        show_default=True,
        help="Memory for the block cache.",
    ),
    click.option(
        "--max-downloads",
        metavar="N",
        type=Whole(1, 64),
        default=4,
        show_default=True,
        help="Maximum number of concurrent downloads.",
    ),
)

_NOT_IN_PROFILES = frozenset({"foreground"})


def server_options(command: F) -> F:
    """The options that say how to reach the server and who we are there."""
    for option in reversed(_SERVER_OPTIONS):
        command = option(command)
    return command


def mount_options(command: F) -> F:
    """All of them."""
    for option in reversed(_MOUNT_OPTIONS):
        command = option(command)
    return server_options(command)


@cache
def profile_keys() -> dict[str, click.Parameter]:
    """What a profile may hold, by its key: `server`, `mountpoint`, and the long options of `mount`."""

    @click.command()
    @mount_options
    def command() -> None:
        """Made for its options alone."""

    keys: dict[str, click.Parameter] = {"server": click.Option(["--server"], type=TEXT)}
    for param in command.params:
        if param.name not in _NOT_IN_PROFILES:
            keys[str(param.opts[0]).removeprefix("--")] = param
    keys["mountpoint"] = click.Option(["--mountpoint"], type=FILE)
    return keys


def profile_value(param: click.Parameter, value: object) -> object:
    """What a TOML value is for an option, with the option's own check. Raises ValueError with a sentence."""
    if isinstance(param, click.Option) and param.is_flag:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, not {value!r}")
        return value
    # TOML has octal numbers of its own: without quotes 0o077 would arrive as 63.
    wants_text = param.type in (TEXT, FILE) or isinstance(param.type, Octal)
    if isinstance(value, bool) or not isinstance(value, str if wants_text else str | int | float):
        what = "a string in quotes, on one line" if wants_text else "a number, or a string in quotes"
        raise ValueError(f"expected {what}, not {value!r}")
    try:
        # The word that one would type.
        return param.type.convert(str(value), param, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from None
