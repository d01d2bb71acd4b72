"""`mount -t fuse.axxon-exportfs` and `/etc/fstab`: mount(8) calls this with its own words, which become ours."""

import difflib
import re
from collections.abc import Iterator

import click

from exportfs.cli.commands.mount import mount
from exportfs.cli.daemon.guard import guard
from exportfs.cli.failures import complain
from exportfs.errors import ExportfsError, InvalidArgument
from exportfs.os_errors import sentence

WRONG_USE, FAILED = 1, 32
"""Exit codes, as mount(8) has them."""

# What mount(8) and systemd say to themselves, and what holds here anyway. See docs/fstab.md.
_IGNORED = frozenset(
    (
        *("defaults", "rw", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner"),
        *("group", "nogroup", "_netdev", "nofail", "silent", "loud", "suid", "nosuid", "dev", "nodev"),
        *("exec", "noexec", "async", "sync", "dirsync", "atime", "noatime", "diratime", "nodiratime"),
        *("relatime", "norelatime", "strictatime", "nostrictatime", "lazytime", "nolazytime"),
        *("iversion", "noiversion", "mand", "nomand", "default_permissions"),
    )
)
_IGNORED_WITH_VALUE = frozenset(("comment", "uhelper", "helper"))
_ALIASES = {"ro": "read-only", "username": "user"}
"""`username`, since mount(8) takes a bare `user` for itself and overwrites its value for those who are not root."""
_REFUSED = {"remount": "a mount cannot be changed: unmount it and mount it again"}
# A comma in a value is written `\,`.
_SEPARATOR = re.compile(r"(?<!\\),")


def arguments(options: str) -> Iterator[str]:
    """The words of `mount` for the text after `-o`. InvalidArgument for what nobody knows."""
    known = {
        word.removeprefix("--"): option
        for option in mount.params
        if isinstance(option, click.Option)
        for word in option.opts
        if word != "--foreground"  # mount(8) waits for the end of this
    }
    for text in filter(None, _SEPARATOR.split(options)):
        name, equals, value = text.replace("\\,", ",").partition("=")
        if name in _REFUSED:
            raise InvalidArgument(_REFUSED[name])
        if name.lower().startswith("x-") or name in _IGNORED_WITH_VALUE or (not equals and name in _IGNORED):
            continue
        name = _ALIASES.get(name, name).replace("_", "-")
        option = known.get(name)
        if option is None:
            near = difflib.get_close_matches(name, [*known, *_ALIASES], n=1, cutoff=0)[0]
            raise InvalidArgument(f"unknown mount option `{name}`; the nearest known one is `{near}`")
        if bool(equals) is option.is_flag:
            raise InvalidArgument(f"mount option `{name}` takes {'no' if option.is_flag else 'a'} value")
        # One word, so that a value may begin with a dash.
        yield f"--{name}={value}" if equals else f"--{name}"


@click.command(hidden=True, add_help_option=False)
@click.argument("server")
@click.argument("mountpoint")
@click.option("-o", "options", multiple=True)
@click.option("-t", "kind")
@click.option("-N", "namespace")
@click.option("-f", "fake", is_flag=True)
@click.option("-s", "sloppy", is_flag=True)
@click.option("-n", "no_mtab", is_flag=True)
@click.option("-v", "verbose", is_flag=True)
def mount_helper(server: str, mountpoint: str, options: tuple[str, ...], fake: bool, **_: object) -> int:
    """Mount as mount(8) and /etc/fstab have it."""
    try:
        words = [option for text in options for option in arguments(text)]
    except InvalidArgument as error:
        complain(str(error))
        return WRONG_USE
    if fake:
        return 0
    try:
        mount.main([*words, "--", server, mountpoint], standalone_mode=False)
        guard(mountpoint)
    except click.UsageError as error:
        complain(error.format_message())
        return WRONG_USE
    except ExportfsError as error:
        complain(str(error))
        return FAILED
    except OSError as error:
        complain(sentence(error))
        return FAILED
    return 0
