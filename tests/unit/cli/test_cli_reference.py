"""The reference of the options is what the program has."""

import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from exportfs.cli import program, reference
from exportfs.cli.failures import Failure

DOCS = Path(__file__).parents[3] / "docs"


def commands() -> dict[str, click.Command]:
    found = {}
    for name in program.list_commands(click.Context(program)):
        try:
            command = program.get_command(click.Context(program), name)
        except Failure:
            continue
        assert command is not None
        found[name] = command
    return found


def test_options_page_is_up_to_date() -> None:
    # Again with `python -m exportfs.cli.reference markdown > docs/options.md`.
    assert (DOCS / "options.md").read_text() == reference.markdown()


def test_every_option_is_in_the_reference() -> None:
    pages = {page.name: page for page in reference.pages()}
    assert set(pages) == set(commands())
    for name, command in commands().items():
        words = " ".join(option for option, _ in pages[name].options)
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                for spelling in (*parameter.opts, *parameter.secondary_opts):
                    assert re.search(rf"(^|[ /]){re.escape(spelling)}\b", words), (name, spelling)
                assert parameter.help, (name, parameter.name)


def test_documents_name_no_option_that_does_not_exist() -> None:
    text = re.sub(r"^```\n\$.*?^```$", "", (DOCS / "commands.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    for section in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        name = section.split()[0].strip("`")
        command = commands().get(name)
        if command is not None:
            known = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
            used = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section))
            assert used <= known, (name, used - known)


def test_every_command_is_described() -> None:
    text = (DOCS / "commands.md").read_text()
    for name in ("status", "export", "wait", "stop", "destroy", "copy", "doctor", "setup"):
        assert re.search(rf"^## .*`{name}`", text, re.MULTILINE), name


def test_man_page() -> None:
    page = reference.man()
    for name, command in commands().items():
        assert f"\n.SS {name}\n" in page
        for parameter in command.params:
            for spelling in parameter.opts if isinstance(parameter, click.Option) else ():
                assert spelling.replace("-", "\\-") in page
    assert not re.search(r"^'", page, re.MULTILINE)


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_roff_has_nothing_to_complain_about() -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8"], input=reference.man(), capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    plain = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert "--no-mask" in plain
    assert "~/.config/axxon-exportfs/config.toml" in plain


def test_configuration_page_has_every_key() -> None:
    from exportfs.cli.params.mount_options import profile_keys

    text = (DOCS / "configuration.md").read_text()
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    assert rows == set(profile_keys())
