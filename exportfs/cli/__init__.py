"""The command `axxon-exportfs`. Subcommands are imported when they are called, so that none waits for what
another needs (gRPC, FUSE, terminal graphics)."""

import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import click
from click.shell_completion import CompletionItem

from exportfs import __version__
from exportfs.cli.daemon.inherited import prepare_process
from exportfs.cli.examples import FIRST_STEPS, epilog, lines
from exportfs.cli.failures import Failure, complain
from exportfs.cli.suggestions import suggestion
from exportfs.doctor.packages import package_trouble
from exportfs.errors import ExportfsError
from exportfs.os_errors import sentence
from exportfs.program import PROGRAM

_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
"""As click has it."""
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A subcommand that is not imported yet."""

    where: str
    """`module:attribute`."""
    help: str
    """First sentence of its help, for the list of commands; a test compares them."""
    hidden: bool = False
    """Called by programs, not by people."""


COMMANDS = {
    "mount": Lazy("exportfs.cli.commands.mount:mount", "Mount a server's exports as a folder."),
    "umount": Lazy("exportfs.cli.commands.umount:umount", "End a mount."),
    "status": Lazy("exportfs.cli.commands.status:status", "Show sessions and what the mounts are doing."),
    "cameras": Lazy("exportfs.cli.commands.cameras:cameras", "List cameras and their footage."),
    "footage": Lazy("exportfs.cli.commands.footage:footage", "Show what footage there is of a camera."),
    "export": Lazy("exportfs.cli.commands.export:export", "Start an export through a mount."),
    "fetch": Lazy("exportfs.cli.commands.fetch:fetch", "Export a camera's footage and copy it, in one go."),
    "wait": Lazy("exportfs.cli.commands.wait:wait", "Wait until export sessions have ended."),
    "stop": Lazy("exportfs.cli.commands.stop:stop", "Stop running exports; what they have so far is kept."),
    "destroy": Lazy(
        "exportfs.cli.commands.destroy:destroy", "Delete export sessions and their results on the server."
    ),
    "copy": Lazy(
        "exportfs.cli.commands.copy:copy", "Copy the results of sessions into a folder, with hashes."
    ),
    "docs": Lazy("exportfs.cli.commands.docs:docs", "Show the documents, or where they are."),
    "doctor": Lazy("exportfs.cli.commands.doctor:doctor", "Check this machine or a server for problems."),
    "setup": Lazy(
        "exportfs.cli.commands.setup:setup",
        "Install mount helper, units, completions and man page, or remove them.",
    ),
    "mount-helper": Lazy(
        "exportfs.cli.commands.mount_helper:mount_helper",
        "Mount as mount(8) and /etc/fstab have it.",
        hidden=True,
    ),
    "simulate": Lazy("exportfs.simulator.command:simulate", "Run the bundled server simulator."),
    "demo": Lazy("exportfs.cli.commands.demo:demo", "Simulator, mount and a first export, in one go."),
}


class Program(click.Group):
    """The group of all subcommands. A subcommand returns its exit code, or None for 0."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name, lazy in COMMANDS.items() if not lazy.hidden]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand; `Failure` where a package that it needs is not installed."""
        lazy = COMMANDS.get(cmd_name)
        if lazy is None:
            return None
        module, _, attribute = lazy.where.partition(":")
        try:
            command = getattr(importlib.import_module(module), attribute)
        except ModuleNotFoundError as error:
            if trouble := package_trouble(error):
                raise Failure(trouble) from error
            extra = "[simulator]" if cmd_name in ("simulate", "demo") else ""
            raise Failure(
                f"`{cmd_name}` needs the Python package {error.name}, which is not installed: "
                f"install {PROGRAM}{extra} with its dependencies"
            ) from error
        except Exception as error:
            if trouble := package_trouble(error):
                raise Failure(trouble) from error
            raise
        assert isinstance(command, click.Command)
        command.epilog = command.epilog or epilog(cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """UsageError with the nearest command for one that there is not."""
        word = args[0]
        if word not in COMMANDS and not ctx.resilient_parsing and not word.startswith("-"):
            after = args[1] if len(args) > 1 else ""
            ctx.fail(f"unknown command {word!r}: {suggestion(word, after, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """As click does it, without importing every subcommand for its help."""
        items = [CompletionItem(name, help=COMMANDS[name].help) for name in self.list_commands(ctx)]
        found = [item for item in items if item.value.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Expected errors become one line; anything else is a bug and keeps its traceback."""
        try:
            return super().invoke(ctx)
        except ExportfsError as error:
            raise Failure(str(error) or type(error).__name__) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise Failure(sentence(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if trouble := package_trouble(error):
                raise Failure(trouble) from error
            raise

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> NoReturn:
        """Run and exit: 0 done, 1 failed, 2 wrong command line, 3 footage is missing, 130 interrupted."""
        try:
            code = super().main(args, PROGRAM, complete_var, standalone_mode=False, **extra)
            sys.stdout.flush()
        except click.Abort:
            sys.exit(INTERRUPTED)
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(error.exit_code)
        except click.UsageError as error:
            complain(usage_message(error, sys.argv[1:] if args is None else args))
            sys.exit(error.exit_code)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except OSError as error:
            # The last of the output did not get out (a full disk): said once, not again at exit.
            Failure(sentence(error)).show()
            sys.stdout = None
            sys.exit(1)
        sys.exit(code if isinstance(code, int) else 0)


def usage_message(error: click.UsageError, args: Sequence[str]) -> str:
    """What is wrong with the command line, and what to type, in one line."""
    message = error.format_message()
    if error.ctx is None or error.ctx.parent is None:
        # What click's parser finds has no context.
        where = f"{PROGRAM} {args[0]}" if error.ctx is None and args and args[0] in COMMANDS else PROGRAM
        if isinstance(error, click.NoSuchOption):
            message = f"{message.rstrip('.')}; options of a command go behind it"
        return f"{message} (see `{where} --help`)"
    name = error.ctx.info_name or ""
    if found := _EXTRA.fullmatch(message):
        usage = " ".join([error.ctx.command_path, *error.ctx.command.collect_usage_pieces(error.ctx)])
        message = f"unexpected argument {found[1]!r}; usage: {usage}"
    elif isinstance(error, click.MissingParameter) and (examples := lines(name)):
        message = f"{message.rstrip('.')}, as in: {examples[0][1]}"
    elif isinstance(error, click.NoSuchOption) and not error.possibilities:
        known = [word for param in error.ctx.command.params for word in param.opts if word.startswith("--")]
        message = f"{message.rstrip('.')}; the options are {', '.join(known)}"
    return f"{message} (see `{error.ctx.command_path} --help`)"


@click.group(
    PROGRAM, cls=Program, epilog=FIRST_STEPS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.version_option(__version__, prog_name=PROGRAM)
def program() -> None:
    """The exports of an Axxon One video-management server as a folder.

    Exit codes: 0 success; 1 failure (one line on standard error says what to do); 2 wrong command line; 3 success, but
    results hold less footage than was asked for; 130 Ctrl-C.
    """


def main() -> NoReturn:
    """Entry point of the command and of `python -m exportfs`."""
    prepare_process()
    program.main()
