"""From words on the command line to a `ServerConfig`: the address, the profile, the password."""

import ipaddress
import os
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

from exportfs.cli.configuration import Configuration, load
from exportfs.cli.options import given, resolve
from exportfs.cli.text import on_terminal
from exportfs.config import DEFAULT_PORT, ServerConfig
from exportfs.errors import InvalidArgument

PASSWORD_VARIABLE = "EXPORTFS_PASSWORD"
CREDENTIAL = "axxon-exportfs.password"
"""Name of the password among the credentials that systemd hands over."""
KEYRING_SERVICE = "axxon-exportfs"
_LARGEST_PASSWORD_FILE = 4096
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?", re.ASCII)

F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)


def server_options(command: F) -> F:
    """The options that say how to reach the server and who we are there."""
    for option in reversed(
        [
            click.option("--user", metavar="NAME", help="Log in as this user; without it there is no login."),
            click.option(
                "--password-file",
                metavar="FILE",
                type=_FILE,
                help=f"The user's password, in a file that only its owner can read. Otherwise "
                f"{PASSWORD_VARIABLE} of the environment, systemd's credential {CREDENTIAL}, the desktop's "
                "keyring, or asked for on a terminal.",
            ),
            click.option(
                "--ca-file",
                metavar="FILE",
                type=_FILE,
                help="PEM of the CA that signed the server's certificate. Default: the system's.",
            ),
            click.option(
                "--tls-server-name",
                metavar="NAME",
                help="Name in the server's certificate, where it is not the address.",
            ),
            click.option(
                "--insecure",
                is_flag=True,
                help="No TLS. Refused with a user unless the server is on this machine.",
            ),
        ]
    ):
        command = option(command)
    return command


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `IPV6`. InvalidArgument where it is none."""
    wrong = InvalidArgument(
        f"{text!r} is no server: write HOST or HOST:PORT, as in vms.example.org:{DEFAULT_PORT}"
    )
    host, port = text, str(DEFAULT_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise wrong
        port = rest[1:] if rest else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not re.fullmatch(r"\d{1,5}", port, re.ASCII) or not 1 <= int(port) <= 65535:
        raise wrong
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise wrong from None
    elif not _HOST.fullmatch(host):
        raise wrong
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_password_file(path: Path) -> str:
    """The password in it, without the line's end. InvalidArgument where others can read it or it is empty."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        # A pipe (`--password-file <(pass show vms)`) has no readers but us.
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise InvalidArgument(f"{path}: other users can get at this password: chmod 600 it first")
        content = file.read(_LARGEST_PASSWORD_FILE + 1)
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path}: the password is not UTF-8") from None
    if not password or "\n" in password or len(content) > _LARGEST_PASSWORD_FILE:
        raise InvalidArgument(f"{path}: must hold the password, one line and nothing else")
    return password


def find_password(
    values: Mapping[str, object],
    *,
    on_command_line: bool,
    environ: Mapping[str, str],
    ask: Callable[[], str] | None,
) -> str:
    """By precedence: the file of the command line, the environment, the file of the profile, a credential of
    systemd's, the desktop's keyring, the terminal.

    `ask` is None where nobody can be asked; InvalidArgument where there is no password at all.
    """
    path = values.get("password_file")
    if isinstance(path, Path) and on_command_line:
        return read_password_file(path)
    if environ.get(PASSWORD_VARIABLE):
        return environ[PASSWORD_VARIABLE]
    if isinstance(path, Path):
        return read_password_file(path)
    credential = systemd_credential(environ)
    if credential is not None:
        return read_password_file(credential)
    kept = keyring_password(str(values.get("server", "")), str(values.get("user", "")))
    if kept is not None:
        return kept
    if ask is None:
        raise InvalidArgument(
            f"no password for {values.get('user')}: give --password-file FILE, or {PASSWORD_VARIABLE}"
        )
    return ask()


def systemd_credential(environ: Mapping[str, str]) -> Path | None:
    """The password that a service manager put there (`LoadCredential=` of systemd.exec)."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / CREDENTIAL if folder else None
    return path if path is not None and path.exists() else None


def keyring_password(server: str, user: str) -> str | None:
    """The desktop keyring's password for a user at a server, stored with
    `keyring set axxon-exportfs USER@SERVER`; None without one, or without the library."""
    try:
        import keyring
    except ImportError:
        return None
    try:
        found: str | None = keyring.get_password(KEYRING_SERVICE, f"{user}@{server}")
    except Exception:  # whatever the desktop's keyring has to say, there are other sources
        return None
    return found or None


def find_profile(name: str, configuration: Configuration | None = None) -> tuple[dict[str, object], str]:
    """What the configuration says for SERVER, and the address: its profile's, or the word itself."""
    configuration = load() if configuration is None else configuration
    profile = configuration.profile(name)
    if profile is None:
        return configuration.profile(None) or {}, name
    return profile, str(profile.get("server", name))


def server_config(
    ctx: click.Context,
    address: str,
    profile: Mapping[str, object],
    *,
    environ: Mapping[str, str] | None = None,
) -> ServerConfig:
    """Of the options made by `server_options`, over the profile. Asks for the password on a terminal."""
    values = resolve(ctx, profile)
    host, port = split_address(address)
    user = values.get("user")
    insecure = bool(values.get("insecure"))
    secret = user or values.get("password_file")
    if secret and insecure and not is_loopback(host):
        raise InvalidArgument(
            f"--insecure would send {user or 'the user'}'s password readable to everyone on the way to {host}: "
            "leave it out, and give --ca-file FILE"
        )
    password = None
    if user:
        password = find_password(
            {**values, "server": address},
            on_command_line=given(ctx, "password_file"),
            environ=os.environ if environ is None else environ,
            ask=(lambda: _ask(f"{user} at {host}")) if on_terminal() else None,
        )
    ca_file = values.get("ca_file")
    name = values.get("tls_server_name")
    return ServerConfig(
        host=host,
        port=port,
        user=str(user) if user else None,
        password=password,
        ca_file=ca_file if isinstance(ca_file, Path) else None,
        tls_server_name=str(name) if name else None,
        insecure=insecure,
    )


def _ask(whom: str) -> str:
    answer: str = click.prompt(f"Password of {whom}", hide_input=True, err=True)
    return answer
