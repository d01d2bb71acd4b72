"""`doctor`: what is missing on this machine or wrong with a server, and the fix."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Iterable

import click

from exportfs.bounded import answer
from exportfs.cli.configuration_findings import configuration_findings
from exportfs.cli.params.arguments import JSON
from exportfs.cli.params.mount_options import server_options
from exportfs.cli.server import server_config, use_profile
from exportfs.cli.terminal.output import printable
from exportfs.config import ServerConfig
from exportfs.doctor.finding import Finding
from exportfs.doctor.machine import Machine, machine_findings
from exportfs.doctor.packages import package_findings
from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import PROBE_TIMEOUT

_MARKS = {True: ("ok", "green"), None: ("warn", "yellow"), False: ("fail", "red")}
_TITLE_WIDTH = 24
_TROUBLE = f"{__name__}.trouble"


def _use_profile(ctx: click.Context, param: click.Parameter, server: str | None) -> str | None:
    """As `use_profile` does it; what is wrong with the configuration is a finding here, as all else."""
    try:
        return use_profile(ctx, param, server)
    except (ExportfsError, OSError) as error:
        ctx.meta[_TROUBLE] = error
        return server


@click.command(short_help="Check this machine or a server for problems.")
@click.argument("server", metavar="[SERVER]", required=False, is_eager=True, callback=_use_profile)
@server_options
@JSON
@click.pass_context
def doctor(ctx: click.Context, /, server: str | None, as_json: bool, **_: object) -> int:
    """Check this machine or a server for problems, and say how to fix them.

    SERVER is an address or a profile of the configuration. The exit code is 1 where something fails; a
    warning is something that may be as it should.
    """
    machine = Machine()
    findings = [*machine_findings(machine), *_configuration(machine)]
    if server is not None:
        packages = all(finding.ok is not False for finding in package_findings())
        findings += _server_findings(ctx, server) if packages else [_not_looked_at(server)]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    else:
        show(findings)
    return 1 if any(finding.ok is False for finding in findings) else 0


def _configuration(machine: Machine) -> list[Finding]:
    try:
        return answer(lambda: list(configuration_findings(machine)), PROBE_TIMEOUT)
    except TimeoutError:
        return [
            Finding(False, "configuration", "does not answer: its file system hangs", "see to that first")
        ]


def show(findings: Iterable[Finding]) -> None:
    """One line each, and one for the fix."""
    for finding in findings:
        word, colour = _MARKS[finding.ok]
        mark = click.style(f"{word:4}", fg=colour, bold=finding.ok is False)
        click.echo(f"{mark}  {printable(finding.title):{_TITLE_WIDTH}}  {printable(finding.detail)}")
        if finding.fix and finding.ok is not True:
            click.echo(f"      {'':{_TITLE_WIDTH}}  -> {printable(finding.fix)}")


def _not_looked_at(server: str) -> Finding:
    return Finding(
        None, f"server {server}", "not checked: gRPC does not load", "fix the Python packages first"
    )


def _server_findings(ctx: click.Context, server: str) -> list[Finding]:
    title = f"server {server}"
    try:
        if _TROUBLE in ctx.meta:
            raise ctx.meta[_TROUBLE]
        config = server_config(ctx, server)
    except (ExportfsError, OSError) as error:
        return [Finding(False, title, str(error), "correct this first")]
    diagnose = _hook()
    if diagnose is None:
        return [Finding(None, title, "not checked: this installation has no server checks", "reinstall it")]
    return diagnose(config)


def _hook() -> Callable[[ServerConfig], list[Finding]] | None:
    """`diagnose_server`, imported only here because gRPC comes with it; None where it does not load."""
    try:
        module = importlib.import_module("exportfs.doctor.server")
    except ImportError:
        return None
    hook: Callable[[ServerConfig], list[Finding]] = module.diagnose_server
    return hook
