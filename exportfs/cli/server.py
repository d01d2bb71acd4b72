"""From words on the command line to a `ServerConfig`: the address, the profile, the password."""

import ipaddress
import os
import re
import stat
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import click

from exportfs.cli.configuration import Configuration, load
from exportfs.cli.encodings import BYTE_ORDER_MARK, UTF_16
from exportfs.cli.params.arguments import given
from exportfs.cli.params.mount_options import CREDENTIAL, PASSWORD_VARIABLE
from exportfs.cli.terminal.output import on_terminal
from exportfs.config import DEFAULT_PORT, ServerConfig
from exportfs.errors import InvalidArgument
from exportfs.program import PROGRAM

KEYRING_SERVICE = PROGRAM
_LARGEST_PASSWORD_FILE = 4096
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?", re.ASCII)


def split_address(text: str) -> tuple[str, int]:
    """Host and port of `HOST`, `HOST:PORT`, `[IPV6]:PORT` or `IPV6`. InvalidArgument where it is none."""
    wrong = InvalidArgument(
        f"invalid server {text!r}: give HOST or HOST:PORT, as in vms.example.org:{DEFAULT_PORT}"
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
    """The password in it, without a byte order mark and the line's end. InvalidArgument where others can read it, it
    is empty, or cannot be meant so (`check_password`)."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        # A pipe (`--password-file <(pass show vms)`) has no readers but us.
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise InvalidArgument(f"{path}: other users can read this password: chmod 600 it first")
        content = file.read(_LARGEST_PASSWORD_FILE + 1)
    if content.startswith(UTF_16):
        raise InvalidArgument(f"{path}: is UTF-16: save it as UTF-8")
    try:
        # At the front of a file it is a mark for certain: editors of Windows put it there.
        text = content.decode().removeprefix(BYTE_ORDER_MARK)
        password = text.removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path}: the password is not UTF-8") from None
    if not password or "\n" in password or len(content) > _LARGEST_PASSWORD_FILE:
        raise InvalidArgument(f"{path}: must hold the password, one line and nothing else")
    check_password(password, str(path))
    return password


def check_password(password: str, where: str) -> None:
    """InvalidArgument for what nobody can see: a mark at either end, control characters. Such a password comes from
    copying, and would be tried until the account is locked."""
    if not password:
        return
    for end, char in (("begins", password[0]), ("ends", password[-1])):
        if unicodedata.category(char) == "Cf" or char in "\u2028\u2029":
            name = unicodedata.name(char, "an invisible character").lower()
            raise InvalidArgument(
                f"{where}: the password {end} with an invisible character, U+{ord(char):04X} ({name}), and was not "
                "sent: type it again"
            )
    control = next((char for char in password if unicodedata.category(char) == "Cc"), None)
    if control is not None:
        hint = "the file may be UTF-16: save it as UTF-8" if control == "\0" else "type it again"
        raise InvalidArgument(
            f"{where}: the password holds a control character, U+{ord(control):04X}, and was not sent: {hint}"
        )


def find_password(
    values: Mapping[str, object],
    *,
    on_command_line: bool,
    environ: Mapping[str, str],
    ask: Callable[[], str] | None,
) -> str:
    """By precedence: the file of the command line, the environment, the file of the profile, a credential of
    systemd's, the desktop's keyring, the terminal.

    `ask` is None where nobody can be asked; InvalidArgument where there is no password at all, or none that can be
    meant so (`check_password`).
    """
    path = values.get("password_file")
    if isinstance(path, Path) and on_command_line:
        return read_password_file(path)
    if environ.get(PASSWORD_VARIABLE):
        check_password(environ[PASSWORD_VARIABLE], PASSWORD_VARIABLE)
        return environ[PASSWORD_VARIABLE]
    if isinstance(path, Path):
        return read_password_file(path)
    credential = systemd_credential(environ)
    if credential is not None:
        return read_password_file(credential)
    kept = keyring_password(str(values.get("server", "")), str(values.get("user", "")))
    if kept is not None:
        check_password(kept, "the keyring")
        return kept
    if ask is None:
        raise InvalidArgument(
            f"no password for {values.get('user')}: give --password-file FILE, or {PASSWORD_VARIABLE}"
        )
    typed = ask()
    check_password(typed, "as typed")
    return typed


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


GIVEN_SERVER = "exportfs.server"
"""In the context's meta: SERVER as it was given, a profile's name or an address."""


def use_profile(ctx: click.Context, param: click.Parameter, server: str | None) -> str | None:
    """Callback of the (eager) argument SERVER: the profile of that name, or `[defaults]`, becomes what the options
    are where the command line says nothing. Gives the address. Raises ConfigurationError, OSError."""
    if server is None or ctx.resilient_parsing:
        return server
    profile, address = find_profile(server)
    ctx.default_map = profile
    ctx.meta[GIVEN_SERVER] = server
    return address


def find_profile(name: str, configuration: Configuration | None = None) -> tuple[dict[str, object], str]:
    """What the configuration says for SERVER, and the address: its profile's, or the word itself."""
    configuration = load() if configuration is None else configuration
    profile = configuration.profile(name)
    if profile is None:
        return configuration.profile(None) or {}, name
    return profile, str(profile.get("server", name))


def server_config(
    ctx: click.Context, address: str, *, environ: Mapping[str, str] | None = None
) -> ServerConfig:
    """Of the options made by `server_options`. Asks for the password on a terminal."""
    values = ctx.params
    host, port = split_address(address)
    user = values.get("user")
    insecure = bool(values.get("insecure"))
    secret = user or values.get("password_file")
    if secret and insecure and not is_loopback(host):
        raise InvalidArgument(
            f"--insecure would send the password of {user or 'the user'} unencrypted to {host}: leave it out, and give "
            "--ca-file FILE"
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
