"""The options of a copy that is to be handed over."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from exportfs.client.signing import find_signer
from exportfs.errors import ExportfsError

C = TypeVar("C", bound=Callable[..., Any])


class _Key(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    name = "key"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return find_signer(value)
        except ExportfsError as error:
            self.fail(str(error), param, ctx)


def form_options(command: C) -> C:
    """`--bagit` and `--sign`."""
    command = click.option(
        "--sign",
        metavar="KEY",
        type=_Key(),
        help="Sign SHA256SUMS: the path of an SSH key, or the id of an OpenPGP key.",
    )(command)
    return click.option("--bagit", is_flag=True, help="Lay each folder out as a BagIt bag (RFC 8493).")(
        command
    )
