"""Every way in which programs write files, on a real mount: each starts exactly one export."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.harness import eventually
from tests.tree.new.drop import LIMIT, Drop

pytestmark = [pytest.mark.mount, pytest.mark.promise("W1", "W2", "W10")]

COMMANDS = {
    "cp": 'cp "$1" "$2"',
    "cp -p": 'cp -p "$1" "$2"',
    "cp --preserve=all": 'cp --preserve=all "$1" "$2"',
    "cp -a": 'cp -a "$1" "$2"',
    "cp into the folder": 'cp "$1" "${2%/*}/"',
    "cp --remove-destination": 'cp --remove-destination "$1" "$2"',
    "cp --sparse": 'cp --sparse=always "$1" "$2"',
    "mv": 'cp "$1" "$1.copy"; mv "$1.copy" "$2"',
    "mv within": 'cp "$1" "${2%.json}.part"; mv "${2%.json}.part" "$2"',
    "install": 'install -m 600 "$1" "$2"',
    "rsync": 'rsync "$1" "$2"',
    "rsync -a": 'rsync -a "$1" "$2"',
    "rsync --inplace": 'rsync --inplace "$1" "$2"',
    "rsync --partial": 'rsync --partial "$1" "$2"',
    "rsync -aHAX": 'rsync -aHAX "$1" "$2"',
    "rsync -a twice": 'rsync -a "$1" "$2"; rsync -a --checksum "$1" "$2"',
    "rsync --append": 'head -c 60 "$1" > "$2"; rsync --append "$1" "$2"',
    "tee": 'tee "$2" < "$1" > /dev/null',
    "cat": 'cat "$1" > "$2"',
    "printf": 'printf "%s\\n" "$(cat "$1")" > "$2"',
    "here-document": 'cat > "$2" <<END\n$(cat "$1")\nEND',
    "two steps": 'head -c 60 "$1" > "$2"; tail -c +61 "$1" >> "$2"',
    "byte by byte": 'while IFS= read -r -N 1 c; do printf %s "$c" >> "$2"; done < <(head -c 40 "$1"); '
    'tail -c +41 "$1" >> "$2"',
    "two children": '{ head -c 60 "$1"; tail -c +61 "$1"; } > "$2"',
    "two children that exit": '(head -c 60 "$1"; (tail -c +61 "$1")) > "$2"',
    "pipe": 'cat "$1" | cat > "$2"',
    "exec": 'exec 3> "$2"; head -c 60 "$1" >&3; tail -c +61 "$1" >&3; exec 3>&-',
    "dd bs=1": 'dd if="$1" of="$2" bs=1 status=none',
    "dd conv=fsync": 'dd if="$1" of="$2" conv=fsync status=none',
    "dd conv=notrunc": 'cp "$1" "$2"; dd if="$1" of="$2" conv=notrunc status=none',
    "dd backwards": 'tail -c +61 "$1" | dd of="$2" bs=1 seek=60 status=none; '
    'head -c 60 "$1" | dd of="$2" bs=60 conv=notrunc status=none',
    "sponge": 'sponge "$2" < "$1"',
    "touch": 'touch "$2"; cat "$1" > "$2"',
    "touch after": 'cp "$1" "$2"; touch "$2"; chmod 600 "$2"; sync "$2"',
    "truncate": 'truncate -s 100 "$2"; cat "$1" > "$2"',
    "noclobber": 'set -C; cat "$1" > "$2"',
    "sh": 'sh -c \'cat "$1" > "$2"\' sh "$1" "$2"',
    "ed": 'printf "r %s\\nw %s\\nq\\n" "$1" "$2" | ed -s',
    "ed in place": 'printf "{" > "$2"; printf ",d\\nr %s\\nw\\nq\\n" "$1" | ed -s "$2"',
    "vim -es": 'vim -es -c "r $1" -c "w $2" -c q!',
    "gio copy": 'gio copy "$1" "$2"',
    "gio save": 'gio save "$2" < "$1"',
    "GTK": 'cat "$1" > "${2%/*}/.goutputstream-AB12CD"; mv "${2%/*}/.goutputstream-AB12CD" "$2"',
    "awk": 'awk \'{ print > ARGV[2] }\' "$1" "$2" 2> /dev/null || true',
    "tar": 'tar -C "${1%/*}" -c "${1##*/}" | tar -C "${2%/*}" -x',
    "cpio-like": 'base64 "$1" | base64 -d > "$2"',
    "again": 'cp "$1" "$2"; cp "$1" "$2"; cat "$1" > "$2"; rsync "$1" "$2"; touch "$2"',
}


@pytest.mark.parametrize("script", COMMANDS.values(), ids=COMMANDS)
def test_program(drop: Drop, script: str) -> None:
    drop.shell(script)
    drop.check_started()


PYTHON = {
    "open().write()": "open(target, 'wb').write(data)",
    "write_text": "pathlib.Path(target).write_text(data.decode())",
    "in pieces": "f = open(target, 'wb', buffering=0)\n"
    "[f.write(data[i:i+7]) for i in range(0, len(data), 7)]; f.close()",
    "os.replace": "t = target + '.tmp'; open(t, 'wb').write(data); os.replace(t, target)",
    "hidden, fsync, os.rename": "t = os.path.dirname(target) + '/.x' + os.path.basename(target)\n"
    "f = open(t, 'wb'); f.write(data); f.flush(); os.fsync(f.fileno()); f.close(); os.rename(t, target)",
    "O_APPEND": "d = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND)\n"
    "os.write(d, data[:50]); os.write(d, data[50:]); os.close(d)",
    "O_TRUNC": "open(target, 'wb').write(b'{'); d = os.open(target, os.O_WRONLY | os.O_TRUNC)\n"
    "os.write(d, data); os.close(d)",
    "O_RDWR": "d = os.open(target, os.O_RDWR | os.O_CREAT); os.write(d, data); os.lseek(d, 0, 0)\n"
    "assert os.read(d, 9999) == data; os.close(d)",
    "O_EXCL": "d = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL); os.write(d, data); os.close(d)",
    "O_SYNC": "d = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_SYNC); os.write(d, data); os.close(d)",
    "dup": "d = os.open(target, os.O_WRONLY | os.O_CREAT); e = os.dup(d); os.write(d, data[:9]); os.close(d)\n"
    "os.write(e, data[9:]); os.close(e)",
    "dup, whole": "d = os.open(target, os.O_WRONLY | os.O_CREAT); e = os.dup(d); os.write(d, data)\n"
    "os.close(d); os.close(e)",
    "pwrite backwards": "d = os.open(target, os.O_WRONLY | os.O_CREAT)\n"
    "[os.pwrite(d, data[i:i+1], i) for i in reversed(range(len(data)))]; os.close(d)",
    "ftruncate first": "d = os.open(target, os.O_RDWR | os.O_CREAT); os.ftruncate(d, len(data))\n"
    "os.close(d); d = os.open(target, os.O_WRONLY); os.write(d, data); os.close(d)",
    "mmap": "d = os.open(target, os.O_RDWR | os.O_CREAT); os.ftruncate(d, len(data))\n"
    "m = mmap.mmap(d, len(data)); m[:] = data; m.flush(); m.close(); os.close(d)",
    "sendfile": "d = os.open(target, os.O_WRONLY | os.O_CREAT); s = os.open(source, os.O_RDONLY)\n"
    "os.sendfile(d, s, 0, len(data)); os.close(d)",
    "copy_file_range": "t = os.path.dirname(target) + '/.x' + os.path.basename(target)\n"
    "open(t, 'wb').write(data); d = os.open(target, os.O_WRONLY | os.O_CREAT); s = os.open(t, os.O_RDONLY)\n"
    "assert os.copy_file_range(s, d, len(data)) == len(data); os.close(d); os.unlink(t)",
    "splice": "d = os.open(target, os.O_WRONLY | os.O_CREAT); s = os.open(source, os.O_RDONLY)\n"
    "r, w = os.pipe(); n = os.splice(s, w, len(data)); assert os.splice(r, d, n) == len(data); os.close(d)",
    "shutil.copy2": "shutil.copy2(source, target)",
    "shutil.move": "shutil.copy2(source, source + 'c'); shutil.move(source + 'c', target)",
    "byte order mark": "open(target, 'w', encoding='utf-8-sig').write(data.decode())",
}
_BEFORE = (
    "import mmap, os, pathlib, shutil, sys\nsource, target = sys.argv[1:]\ndata = open(source, 'rb').read()\n"
)


@pytest.mark.parametrize("code", PYTHON.values(), ids=PYTHON)
def test_python(drop: Drop, code: str) -> None:
    drop.run(sys.executable, "-c", _BEFORE + code, drop.source, drop.target)
    drop.check_started(kept="utf-8-sig" not in code)


def test_mmap_that_outlives_its_descriptor(drop: Drop) -> None:
    code = (
        "d = os.open(target, os.O_RDWR | os.O_CREAT); os.ftruncate(d, len(data))\n"
        "m = mmap.mmap(d, len(data)); os.close(d); m[:] = data; m.close()"
    )
    drop.run(sys.executable, "-c", _BEFORE + code, drop.source, drop.target)
    # The last unmapping is a release, which nobody waits for.
    drop.check_started(at_once=False)


def test_writer_that_is_killed_with_its_request_written(drop: Drop) -> None:
    code = "f = open(target, 'wb', buffering=0); f.write(data); os.kill(os.getpid(), 9)"
    drop.run(sys.executable, "-c", _BEFORE + code, drop.source, drop.target, code=-9)
    drop.check_started(at_once=False)


def test_writer_that_is_killed(drop: Drop) -> None:
    code = "f = open(target, 'wb', buffering=0); f.write(data[:60]); os.kill(os.getpid(), 9)"
    drop.run(sys.executable, "-c", _BEFORE + code, drop.source, drop.target, code=-9)
    eventually(Path(f"{drop.target}.error").exists)
    assert drop.calls == 0
    drop.shell('cp "$1" "$2"')
    drop.check_started()


def at_terminal(drop: Drop, keys: list[tuple[bytes, bytes]], *command: str) -> None:
    """Runs a program on a terminal; presses keys once it has shown what comes before them."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.environ["HOME"] = os.fspath(drop.source.parent)
        os.execvp(command[0], command)
    shown, deadline = b"", time.monotonic() + LIMIT
    try:
        while time.monotonic() < deadline:
            if keys and keys[0][0] in shown:
                os.write(terminal, keys.pop(0)[1])
                shown = b""
            if not select.select([terminal], [], [], 0.1)[0]:
                continue
            try:
                shown += os.read(terminal, 65536)
            except OSError:  # its other end is closed
                break
        else:
            os.kill(pid, 9)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
        assert keys == [], shown
    finally:
        os.close(terminal)


def test_vim(drop: Drop) -> None:
    at_terminal(
        drop,
        [(b"[New]", b":1r " + bytes(drop.source) + b"\r"), (b"max", b":1d\r:wq\r")],
        "vim",
        str(drop.target),
    )
    drop.check_started()
    # And once more, unchanged: the file is renamed, written anew, and the old one unlinked.
    at_terminal(drop, [(b"max", b":wq\r")], "vim", str(drop.target))
    drop.check_started()


def test_vim_that_corrects(drop: Drop) -> None:
    bad = drop.source.with_suffix(".bad")
    bad.write_bytes(drop.content.replace(b"MP4", b"MP5"))
    drop.run("cp", bad, drop.target, code=1)
    assert drop.calls == 0
    at_terminal(drop, [(b"MP5", b":%s/MP5/MP4/\r:wq\r")], "vim", str(drop.target))
    drop.check_started()


def test_nano(drop: Drop) -> None:
    # ^R inserts a file, ^S saves, ^X exits.
    keys = [
        (b"New", b"\x12"),
        (b"insert", bytes(drop.source) + b"\r"),
        (b"max", b"\x0f"),
        (b"Write", b"\r"),
        (b"Wrote", b"\x18"),
    ]
    at_terminal(drop, keys, "nano", "-L", str(drop.target))
    drop.check_started()


@pytest.mark.parametrize("editor", ["sed -i", "perl -i", "ed", "vim -es"])
def test_editing_a_failed_request(drop: Drop, editor: str) -> None:
    bad = drop.source.with_suffix(".bad")
    bad.write_bytes(drop.content.replace(b"MP4", b"MP5"))
    assert b"Invalid argument" in drop.run("cp", bad, drop.target, code=1).stderr
    assert "MP5" in Path(f"{drop.target}.error").read_text()
    target = str(drop.target)
    match editor:
        case "sed -i":
            drop.run("sed", "-i", "s/MP5/MP4/", target)
        case "perl -i":
            drop.run("perl", "-pi", "-e", "s/MP5/MP4/", target)
        case "ed":
            drop.run("ed", "-s", target, stdin=b",s/MP5/MP4/\nw\nq\n")
        case _:
            drop.run("vim", "-es", "-c", "%s/MP5/MP4/", "-c", "wq", target)
    drop.check_started()


def test_two_programs_under_two_names(drop: Drop) -> None:
    other = drop.new / f"{drop.stem}-b.json"
    writers = [subprocess.Popen(["cp", drop.source, target]) for target in (drop.target, other)]
    assert [writer.wait(LIMIT) for writer in writers] == [0, 0]
    assert drop.calls == 2
    assert os.readlink(drop.new / drop.stem) != os.readlink(drop.new / f"{drop.stem}-b")


def test_the_same_name_twice_at_once(drop: Drop) -> None:
    for number in range(5):
        writers = [
            subprocess.Popen(["cp", drop.source, drop.target], stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        said = [writer.communicate(timeout=LIMIT)[1] for writer in writers]
        codes = [writer.returncode for writer in writers]
        if number:
            assert codes == [0] * 4, said
            continue
        # cp creates what it has not seen with O_EXCL: who comes second is told so, as on every filesystem.
        assert 0 in codes
        assert all(
            "File exists" in text if code else not text for code, text in zip(codes, said, strict=True)
        )
    drop.check_started(at_once=False)


def test_a_folder_of_requests(drop: Drop) -> None:
    folder = drop.source.parent / "folder"
    folder.mkdir()
    for number in range(20):
        text = drop.content.replace(b'"maxFileSize": "1', b'"maxFileSize": "9%d' % number)
        (folder / f"{drop.stem}-{number}.json").write_bytes(text)
    drop.run("rsync", "-a", f"{folder}/", f"{drop.new}/")
    assert drop.calls == 20
    shutil.copytree(folder, drop.new, dirs_exist_ok=True)
    assert drop.calls == 20
