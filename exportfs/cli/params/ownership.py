"""Users, groups and modes, in the words of mount(8): `uid=1000`, `gid=video`, `umask=027`."""

import grp
import pwd

import click

MOST_ID = (1 << 32) - 2
"""The largest id there is; the one after it stands for none."""


class _Id(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """A number, or a name that this machine knows."""

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        text = str(value)
        if text.isascii() and text.isdigit():
            if int(text) > MOST_ID:
                self.fail(f"{text} is larger than any id of a {self.name}", param, ctx)
            return int(text)
        try:
            return self.known(text)
        except (KeyError, ValueError):
            self.fail(
                f"there is no {self.name} {text!r}: give a name of this machine, or a number", param, ctx
            )

    def known(self, name: str) -> int:
        """Its id. Raises KeyError, ValueError."""
        raise NotImplementedError


class _User(_Id):
    name = "user"

    def known(self, name: str) -> int:
        return pwd.getpwnam(name).pw_uid


class _Group(_Id):
    name = "group"

    def known(self, name: str) -> int:
        return grp.getgrnam(name).gr_gid


class Octal(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """Bits of a mode, as an int."""

    name = "octal"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if isinstance(value, int):
            return value
        text = str(value).removeprefix("0o")
        try:
            bits = int(text, 8) if text.isascii() and text.isdigit() else -1
        except ValueError:
            bits = -1
        if not 0 <= bits <= self.most:
            self.fail(f"{value!r} is not an octal number from 0 to {self.most:o}, as in 027", param, ctx)
        return bits


USER = _User()
GROUP = _Group()
