"""Wrong command lines: each message says what is wrong and what to do.

A row is a command line, its exit code and words that the message must contain. `MOUNT` is a mount made of plain files,
`DONE` and `RUNNING` are session directories in it; no mount of the machine takes part.
"""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from exportfs.cli import COMMANDS, examples, program

FROM = "--from 2026-05-11T10:00Z"
EXPORT = "export MOUNT --camera gate --format mp4"

ROWS = """
unmount | 2 | did you mean `axxon-exportfs umount`?
unmount MOUNT | 2 | did you mean `axxon-exportfs umount`?
ls | 2 | did you mean `axxon-exportfs status`?
list | 2 | did you mean `axxon-exportfs status`?
sessions | 2 | did you mean `axxon-exportfs status`?
help | 2 | did you mean `axxon-exportfs --help`?
help export | 2 | did you mean `axxon-exportfs export --help`?
help nonsense | 2 | did you mean `axxon-exportfs --help`?
version | 2 | did you mean `axxon-exportfs --version`?
exprot | 2 | did you mean `axxon-exportfs export`?
EXPORT | 2 | did you mean `axxon-exportfs export`?
staus | 2 | did you mean `axxon-exportfs status`?
camera | 2 | did you mean `axxon-exportfs cameras`?
delete DONE | 2 | did you mean `axxon-exportfs destroy`?
rm DONE | 2 | did you mean `axxon-exportfs destroy`?
cp DONE /tmp | 2 | did you mean `axxon-exportfs copy`?
download DONE | 2 | did you mean `axxon-exportfs copy`?
cancel RUNNING | 2 | did you mean `axxon-exportfs stop`?
check | 2 | did you mean `axxon-exportfs doctor`?
install | 2 | did you mean `axxon-exportfs setup`?
man | 2 | did you mean `axxon-exportfs docs`?
frobnicate | 2 | the commands are mount, umount, status
MOUNT | 2 | the commands are mount, umount, status
--versoin | 2 | '--version'
--json status | 2 | options of a command go behind it
-x | 2 | see `axxon-exportfs --help`
status --nonsense | 2 | the options are --json, --watch
status --jsn | 2 | '--json'
status MOUNT /other | 2 | unexpected argument '/other'; usage: axxon-exportfs status
status --watch MOUNT | 2 | --watch needs a terminal, or --json
status /nowhere | 1 | no exportfs is mounted there; see `axxon-exportfs status`
status '' | 2 | must not be empty
mount | 2 | as in: axxon-exportfs mount vms.example.org ~/vms
mount vms | 2 | MOUNTPOINT is missing: give it, or `mountpoint` in the profile
mount /mnt/vms vms | 1 | invalid server '/mnt/vms': give HOST or HOST:PORT
mount http://vms /tmp/x | 1 | give HOST or HOST:PORT, as in vms.example.org:20109
mount vms:99999 /tmp/x | 1 | give HOST or HOST:PORT
mount vms:abc /tmp/x | 1 | give HOST or HOST:PORT
mount vms /tmp/x y | 2 | unexpected argument 'y'; usage: axxon-exportfs mount
mount vms /tmp/x --password secret | 2 | '--password-file'
mount vms /tmp/x --cache-size 1.5 | 2 | bytes must be a whole number; or give a unit, as in 1.5M
mount vms /tmp/x --cache-size lots | 2 | invalid size 'lots': give bytes, or a number with K, M, G or T
mount vms /tmp/x --cache-size 1K | 2 | must be at least 1M
mount vms /tmp/x --cache-size 99999999T | 2 | at most
mount vms /tmp/x --timeout 0 | 2 | must be at least 0.1 seconds
mount vms /tmp/x --timeout soon | 2 | as in 90, 10m, 1h30m, 0:10:00
mount vms /tmp/x --refresh -1 | 2 | as in 90, 10m, 1h30m, 0:10:00
mount vms /tmp/x --keep-alive 1w | 2 | as in 90, 10m, 1h30m, 0:10:00
mount vms /tmp/x --log-level loud | 2 | not one of debug, info, warning, error
mount vms /tmp/x --max-downloads 100000 | 2 | not a whole number from 1 to 64
mount vms /tmp/x --max-downloads few | 2 | not a whole number from 1 to 64
mount vms /tmp/x --user '' | 2 | must not be empty
mount vms /tmp/x --user | 2 | Option '--user' requires an argument. (see `axxon-exportfs mount --help`)
mount vms /tmp/x --insecure --user me | 1 | leave it out, and give --ca-file FILE
mount vms /tmp/x --user me | 1 | give --password-file FILE, or EXPORTFS_PASSWORD
mount vms /tmp/x --user me --password-file /nowhere | 1 | no such file or directory: check the path
mount vms /tmp/x -o ro | 2 | the options are --user, --password-file
umount | 1 | you have mounted nothing: see `axxon-exportfs status`
umount /nowhere | 1 | nothing is mounted there; see `axxon-exportfs status`
umount / | 1 | not fuse.axxon-exportfs; use `umount`
umount MOUNT /other | 2 | usage: axxon-exportfs umount
export --camera gate | 2 | Missing option '--format'. Choose from: mp4, mkv
export --format mp4 | 2 | Missing option '--camera', as in: axxon-exportfs export --camera
export gate --format mp4 | 2 | Missing option '--camera', as in: axxon-exportfs export --camera
export --camera gate --format mp4 | 1 | nothing is mounted: first `axxon-exportfs mount SERVER MOUNTPOINT`
export /nowhere --camera gate --format mp4 | 1 | first `axxon-exportfs mount SERVER /nowhere`
export MOUNT --camera gate --format mov | 2 | not one of mp4, mkv, avi, exe, video, jpg, pdf, image
EXPORT x | 2 | unexpected argument 'x'; usage: axxon-exportfs export
EXPORT --from 10:04 | 2 | give the date, too, as in 'today 10:04'
EXPORT --from yesterday | 2 | give the time of day, too, as in 'yesterday 10:04'
EXPORT --from 2026-05-11 | 2 | give the time of day, too, as in '2026-05-11 10:04'
EXPORT --from tomorrow | 2 | or local time, as in '2026-05-11 10:04:11'
EXPORT --from 11.05.2026 | 2 | or local time, as in '2026-05-11 10:04:11'
EXPORT --from '' | 2 | or local time, as in '2026-05-11 10:04:11'
EXPORT --from 20260511T100000.000 | 2 | write 2026-05-11T10:00:00.000Z
EXPORT --from 2026-02-30T10:00Z | 2 | not in the calendar
EXPORT FROM | 2 | give two of --from, --to and --duration
EXPORT --to 2026-05-11T10:00Z | 2 | give two of --from, --to and --duration
EXPORT FROM --to 2026-05-11T09:00Z | 2 | correct --from, --to or --duration
EXPORT FROM --to 2026-05-11T11:00Z --duration 5m | 2 | give two of them
EXPORT FROM --duration 10:00 | 2 | give 10:00:00 or 0:10:00
EXPORT FROM --duration -5 | 2 | as in 90, 10m, 1h30m, 0:10:00
EXPORT FROM --duration 0 | 2 | correct --from, --to or --duration
EXPORT FROM --duration '' | 2 | as in 90, 10m, 1h30m, 0:10:00
EXPORT --from 2099-05-11T10:00Z --duration 5m | 2 | correct it, or give --yes if it is intended
EXPORT --from 1926-05-11T10:00Z --duration 5m | 2 | correct it, or give --yes if it is intended
EXPORT --duration 0 | 2 | --duration must be more than 0, as in 10m
EXPORT --archive x | 2 | give the interval, or leave --archive out
EXPORT --quality super | 2 | not one of best, fine, good
EXPORT --split 0 | 2 | --split must be more than 0, as in 500M
EXPORT --split big | 2 | as in 256M
EXPORT --name a/b | 2 | give a plain file name
EXPORT --name .x | 2 | give a plain file name
EXPORT --name taken | 1 | give another --name
EXPORT --comment | 2 | (see `axxon-exportfs export --help`)
EXPORT --output /tmp | 2 | the options are --camera
EXPORT --wiat | 2 | '--wait'
export MOUNT --camera '' --format mp4 | 2 | give one line of text, as in cameras/
export MOUNT --camera gate --format jpg --duration 5 | 2 | leave --duration out
export MOUNT --camera gate --format jpg --quality best | 2 | --quality is for videos, not for jpg: leave it out
export MOUNT --camera gate --format jpg --split 5M | 2 | --split is for videos, not for jpg: leave it out
export MOUNT --camera gate --format jpg FROM --duration 5m | 2 | give --from alone
fetch | 2 | as in: axxon-exportfs fetch '1.Gate north' /media/usb/case-4711
fetch gate | 2 | Missing argument 'DEST', as in: axxon-exportfs fetch
fetch gate '' FROM --duration 5m | 2 | must not be empty
fetch gate /tmp/x | 2 | the interval is missing: give two of --from, --to and --duration
fetch gate /tmp/x FROM --duration 5m | 1 | nothing is mounted: first `axxon-exportfs mount
fetch gate /tmp/x FROM --duration 5m --format jpg | 2 | export --format jpg --wait
wait | 2 | Missing argument 'SESSION...', as in: axxon-exportfs wait
wait '' | 2 | must not be empty
wait nosuch | 1 | there is no such session; see `axxon-exportfs status`
wait MOUNT/sessions/nosuch | 1 | there is no such session; see `axxon-exportfs status`
wait MOUNT | 1 | give one of those in sessions/ of a mount
wait DONE/a.mp4 | 1 | give the directory
wait DONE --timeout soon | 2 | as in 90, 10m
wait DONE --tiemout 5 | 2 | '--timeout'
stop | 2 | as in: axxon-exportfs stop
stop DONE | 0 | nothing to stop: its state is completed already
stop nosuch | 1 | see `axxon-exportfs status`
destroy | 2 | as in: axxon-exportfs destroy
destroy nosuch | 1 | see `axxon-exportfs status`
destroy --force DONE | 2 | the options are --yes
copy | 2 | SESSION and DEST are missing: give sessions, and the folder to copy them to
copy DONE | 2 | DEST is missing
copy DONE RUNNING | 2 | give the folder to copy to as the last word
copy /tmp/x | 2 | SESSION is missing before the folder /tmp/x; `axxon-exportfs status` shows the sessions
copy nosuch /tmp/x | 1 | see `axxon-exportfs status`
copy RUNNING /tmp/x | 1 | first `axxon-exportfs wait
copy DONE '' | 2 | must not be empty
copy DONE /dev/null/x | 1 | choose another DEST
cameras | 1 | nothing is mounted: first `axxon-exportfs mount
cameras gate | 1 | nothing is mounted: first `axxon-exportfs mount
cameras /nowhere | 1 | check the path, and that it is mounted
cameras '' | 2 | must not be empty
footage | 2 | CAMERA is missing: `axxon-exportfs cameras` lists
footage MOUNT | 2 | CAMERA is missing: `axxon-exportfs cameras` lists
footage MOUNT Gate north | 2 | quote its name where it has spaces
footage gate --exact | 2 | --exact needs --from
footage MOUNT gate FROM --to 2026-05-11T09:00Z | 2 | --to must be after --from: correct one of them
doctor vms --bogus | 2 | '--user'
doctor a b | 2 | usage: axxon-exportfs doctor
setup --undoo | 2 | '--undo'
setup --root | 2 | (see `axxon-exportfs setup --help`)
setup vms | 2 | unexpected argument 'vms'; usage: axxon-exportfs setup
docs optoins | 2 | did you mean 'options'?
docs xyz | 2 | there are a-day, architecture, commands, configuration
docs a b | 2 | usage: axxon-exportfs docs
simulate --port 999999 | 2 | not in the range 0<=x<=65535
demo a b | 2 | usage: axxon-exportfs demo
"""


def rows() -> list[tuple[str, int, str]]:
    found = []
    for row in filter(None, ROWS.splitlines()):
        line, code, words = (part.strip() for part in row.split(" | ", 2))
        found.append((line, int(code), words))
    return found


@pytest.fixture
def places(mount: Any) -> dict[str, str]:
    (mount.root / "new" / "taken.json").write_text("{}")
    return {
        "MOUNT": str(mount.root),
        "DONE": str(mount.session("done", files={"a.mp4": b"x"})),
        "RUNNING": str(mount.session("running", "running")),
        "EXPORT ": f"export {mount.root} --camera gate --format mp4 ",
        "FROM": FROM,
    }


def test_the_table_is_long_enough() -> None:
    lines = [line for line, _, _ in rows()]
    assert len(set(lines)) == len(lines) >= 120


@pytest.mark.promise("C12")
@pytest.mark.parametrize(("line", "code", "words"), rows(), ids=[line for line, _, _ in rows()])
def test_message(run: Any, places: dict[str, str], line: str, code: int, words: str) -> None:
    line = re.sub("|".join(places), lambda match: places[match[0]], line)
    result = run(*shlex.split(line))
    assert words in result.stderr
    assert result.exit_code == code
    assert all(told.startswith("axxon-exportfs: ") for told in result.stderr.splitlines())


def test_no_words_at_all_is_a_readable_help(run: Any) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Usage: axxon-exportfs" in result.stderr
    assert result.stderr.count("\n") > 15
    assert "\n  export " in result.stderr
    assert "axxon-exportfs demo " in result.stderr


def test_every_command_has_examples_and_they_can_be_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = [name for name, lazy in COMMANDS.items() if not lazy.hidden]
    assert set(examples.EXAMPLES) == set(shown)
    for name in shown:
        for _, line in examples.lines(name):
            words = shlex.split(line.replace("~", "/home/analyst"))
            assert words[:2] == ["axxon-exportfs", name]
            command = program.get_command(click.Context(program), name)
            assert command is not None
            command.make_context(name, words[2:])


def test_examples_are_in_help_as_they_are_typed(run: Any) -> None:
    for name in examples.EXAMPLES:
        text = run(name, "--help").stdout
        assert all(line in text for _, line in examples.lines(name)), name


def test_documents_are_found(run: Any) -> None:
    listed = run("docs")
    assert "\ngetting-started " in listed.stdout
    folder = Path(run("docs", "--path").stdout.strip())
    assert (folder / "commands.md").is_file()
    page = run("docs", "commands")
    assert page.stdout == (folder / "commands.md").read_text()
    assert run("docs", "Commands.md", "--path").stdout == f"{folder / 'commands.md'}\n"
