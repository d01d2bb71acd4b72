"""Odd request files, and odd ways to write them: each starts exactly one export, or is refused in words with nothing
sent."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.harness import eventually
from tests.tree.new.drop import LIMIT, Drop

pytestmark = [pytest.mark.mount, pytest.mark.promise("W1", "W2", "W6", "W11")]


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """What JSON becomes of a request."""

    def make(content: bytes) -> bytes:
        request = json.loads(content)
        change(request)
        return json.dumps(request).encode()

    return make


FINE: dict[str, Callable[[bytes], bytes]] = {
    "CRLF": lambda c: c.replace(b"\n", b"\r\n"),
    "CR": lambda c: c.replace(b"\n", b"\r"),
    "blanks around": lambda c: b"\n\n \t" + c + b"\n" * 5000,
    "UTF-16": lambda c: c.decode().encode("utf-16"),
    "UTF-16 big-endian": lambda c: b"\xfe\xff" + c.decode().encode("utf-16-be"),
    "BOM": lambda c: b"\xef\xbb\xbf" + c,
    "escapes": lambda c: c.replace(b'"maxFileSize"', b'"\\u006daxFileSize"'),
    "a number, not a string": lambda c: edited(lambda r: r.update(maxFileSize=int(r["maxFileSize"])))(c),
    "a megabyte of blanks": lambda c: c + b" " * (1 << 20),
    "null fields": edited(lambda r: r.update(exportAgentAccessPoint=None)),
    "wrapped": lambda c: b'{"session_options": ' + c + b"}",
    "in a record": lambda c: b'{"id": "x", "options": ' + c + b', "state": "running"}',
}
WRONG: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda c: c[: len(c) // 2],
    "without its last brace": lambda c: c.rstrip()[:-1],
    "twice": lambda c: c + c,
    "a brace too many": lambda c: c.rstrip() + b"}",
    "NULs behind": lambda c: c + b"\0" * 4096,
    "NULs before": lambda c: b"\0" * 4096 + c,
    "NULs only": lambda c: b"\0" * 4096,
    "a hole": lambda c: c[:40] + b"\0" * 20 + c[60:],
    "a list": lambda c: b"[" + c + b"]",
    "a string": lambda c: json.dumps(c.decode()).encode(),
    "null": lambda c: b"null",
    "a number": lambda c: b"17",
    "true": lambda c: b"true",
    "an empty object": lambda c: b"{}",
    "comments": lambda c: b"// as in JSON5\n" + c,
    "a comma too many": lambda c: c.rstrip()[:-1].rstrip() + b",}",
    "single quotes": lambda c: c.replace(b'"', b"'"),
    "typographic quotes": lambda c: c.replace(b'"', "”".encode()),
    "NaN": lambda c: c.rstrip()[:-1] + b', "maxFileSize": NaN}',
    "a field twice": lambda c: c.rstrip()[:-1] + b', "maxFileSize": "1"}',
    "unknown field": edited(lambda r: r.update(maxFilesize="1")),
    "negative": edited(lambda r: r.update(maxFileSize="-1")),
    "too large a number": edited(lambda r: r.update(maxFileSize=str(1 << 64))),
    "a fraction": edited(lambda r: r.update(maxFileSize=0.5)),
    "Latin-1": lambda c: c.rstrip()[:-1] + b', "\xe4": 1}',
    "UTF-16 without a mark": lambda c: c.decode().encode("utf-16-le"),
    "gzip": lambda c: subprocess.run(["gzip", "-c"], input=c, capture_output=True, check=True).stdout,
    "deeply nested": lambda c: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep and unclosed": lambda c: b"[" * 1_000_000,
    "XML": lambda c: b"<?xml version='1.0'?><options/>",
    "YAML": lambda c: b"archive:\n  startTimestamp: x\n",
    "another method": lambda c: (
        b'{"method": "axxonsoft.bl.mmexport.ExportService.DestroySession", '
        b'"data": {"session_options": ' + c + b"}}"
    ),
    "conflict marks": lambda c: b"<<<<<<< ours\n" + c + b"=======\n" + c + b">>>>>>> theirs\n",
}


@pytest.mark.parametrize("make", FINE.values(), ids=FINE)
def test_understood(drop: Drop, make: Callable[[bytes], bytes]) -> None:
    content = make(drop.content)
    drop.run("tee", drop.target, stdin=content)
    drop.check_started(kept=False)
    assert drop.target.read_bytes() == content


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_refused(drop: Drop, make: Callable[[bytes], bytes]) -> None:
    """In words, at once or at the latest when the last writer has gone; then corrected, which starts it."""
    content = make(drop.content)
    subprocess.run(["cp", "/dev/stdin", drop.target], input=content, capture_output=True, timeout=LIMIT)
    error = drop.new / f"{drop.target.name}.error"
    eventually(error.exists)
    said = error.read_text()
    assert len(said.strip()) > 20
    assert "Traceback" not in said
    assert drop.calls == 0
    assert drop.target.read_bytes() == content
    assert not os.path.lexists(drop.new / drop.stem)
    drop.shell('cat "$1" > "$2"')
    drop.check_started()


DANCES = {
    "vim: backup by renaming": 'cp "$1" "$2.new"; : > "$2"; mv "$2" "$2~"; cat "$1" > "$2"; rm "$2~" "$2.new"',
    "vim: 4913": 'd="${2%/*}"; : > "$d/4913"; rm "$d/4913"; cat "$1" > "$2"',
    "vim: swap": 'd="${2%/*}/.${2##*/}.swp"; cat "$1" > "$d"; cat "$1" > "$2"; rm "$d"',
    "emacs: lock, auto-save, backup": 'd="${2%/*}"; n="${2##*/}"; cat "$1" > "$d/#$n#"; cat "$1" > "$2"; '
    'rm "$d/#$n#"; cp "$2" "$2~"; cat "$1" > "$2"',
    "gedit: backup kept": 'cat "$1" > "$2"; cp -p "$2" "$2~"; '
    't="${2%/*}/.goutputstream-QX"; cat "$1" > "$t"; mv "$t" "$2"',
    "kate: backup and temporary": 'cat "$1" > "$2.AbCdEf"; mv "$2.AbCdEf" "$2"',
    "LibreOffice-like lock": 'l="${2%/*}/.~lock.${2##*/}#"; echo me > "$l"; cat "$1" > "$2"; rm "$l"',
    "atomic, over an older one": 'cat "$1" > "$2"; cp "$1" "$2.tmp"; mv -f "$2.tmp" "$2"',
    "exchange by three renames": 'cp "$1" "$2.tmp"; cat "$1" > "$2"; '
    'mv "$2" "$2.part"; mv "$2.tmp" "$2"; mv "$2.part" "$2.tmp"',
    "mv away and back": 'cat "$1" > "$2"; mv "$2" "$2~"; mv "$2~" "$2"',
    "mv from another file system": 'cp "$1" /dev/shm/$$.json; mv /dev/shm/$$.json "$2"',
    "ln -s is refused, cp follows": 'ln -s "$1" "$2" 2> /dev/null || cp -L "$1" "$2"',
    "ln is refused, cp": 'ln "$1" "$2" 2> /dev/null || cp "$1" "$2"',
    "cp -l is refused, cp": 'cp -l "$1" "$2" 2> /dev/null || cp "$1" "$2"',
    "cp --reflink=auto": 'cp --reflink=auto "$1" "$2"',
    "cp --backup": 'cp "$1" "$2"; cp --backup "$1" "$2"',
    "cp -u twice": 'cp -u "$1" "$2"; touch "$1"; cp -u "$1" "$2"',
    "rsync --whole-file --fsync": 'rsync -W --fsync "$1" "$2"',
    "rsync --backup": 'rsync -a "$1" "$2"; touch "$1"; rsync -a --backup "$1" "$2"',
    "rsync --append-verify": 'head -c 60 "$1" > "$2"; rsync --append-verify "$1" "$2"',
    "dd in pieces": 'for i in $(seq 0 9 900); do dd if="$1" of="$2" bs=9 skip=$((i/9)) seek=$((i/9)) count=1 '
    "conv=notrunc status=none; done",
    "dd, a hole first": 's=$(stat -c %s "$1"); dd if=/dev/null of="$2" bs=1 seek=$s status=none || :; '
    'dd if="$1" of="$2" conv=notrunc status=none',
    "fallocate first": 'fallocate -l $(stat -c %s "$1") "$2" 2> /dev/null || :; cat "$1" > "$2"',
    "truncate to its length": 'cp "$1" "$1.long"; printf "   " >> "$1.long"; cat "$1.long" > "$2"; '
    'truncate -s $(stat -c %s "$1") "$2"',
    "tee -a": 'head -c 60 "$1" | tee -a "$2" > /dev/null; tail -c +61 "$1" | tee -a "$2" > /dev/null',
    "> then >>": 'head -n 3 "$1" > "$2"; tail -n +4 "$1" >> "$2"',
    ">> only": 'while IFS= read -r line; do printf "%s\\n" "$line" >> "$2"; done < "$1"',
    "<> (read and write)": 'exec 3<> "$2"; cat "$1" >&3; exec 3>&-',
    "sed -i": 'cat "$1" > "$2"; sed -i "s/nothing of the kind/x/" "$2"',
    "sed -i of a copy": 'sed "s/maxFileSize/maxFilesize/" "$1" > "$2" || :; sed -i "s/maxFilesize/maxFileSize/" "$2"',
    "sed -i.bak": 'cat "$1" > "$2"; sed -i.bak "s/nothing of the kind/x/" "$2"; rm "$2.bak"',
    "perl -i": 'cat "$1" > "$2"; perl -i -pe 1 "$2"',
    "patch": 'sed "s/maxFileSize/maxFilesize/" "$1" > "$1.w"; cp "$1.w" "$2" || :; '
    'diff -u "$1.w" "$1" > "$1.p" || :; patch -s --no-backup-if-mismatch "$2" "$1.p"',
    "ex": 'cat "$1" > "$2"; ex -s -c "%s/nothing of the kind/x/e" -c "wq!" "$2"',
    "sort -o": 'cat "$1" > "$2"; cat "$2" > "$1.s"; sort -o "$1.s" "$1.s"; cat "$1" > "$2"',
    "split and cat": 'split -b 50 "$1" "$1.x"; cat "$1".x?? > "$2"',
    "a background writer": '{ head -c 60 "$1"; sleep 0.2; tail -c +61 "$1"; } > "$2" & wait $!',
    "two at once, each its half": 'head -c 60 "$1" > "$2"; '
    '(tail -c +61 "$1" >> "$2") & (:; cat "$2" > /dev/null) & wait',
    "a reader all along": 'cp "$1" "$2" & p=$!; for i in $(seq 50); do cat "$2" > /dev/null 2>&1 || :; done; wait $p',
    "stat, chmod and utimes between": 'head -c 60 "$1" > "$2"; chmod 600 "$2"; touch -d yesterday "$2"; '
    'stat "$2" > /dev/null; tail -c +61 "$1" >> "$2"',
    "flock": 'flock "$2" sh -c \'cat "$1" > "$2"\' sh "$1" "$2"',
    "sync and fdatasync": 'cat "$1" > "$2"; sync -d "$2"; sync "$2"',
    "xargs, four at once": 'printf "%s\\n" 1 2 3 4 | xargs -P 4 -I{} sh -c \'cat "$0" > "$1"\' "$1" "$2"',
    "unzip": 'cd "${1%/*}"; python3 -m zipfile -c r.zip "${1##*/}"; python3 -m zipfile -e r.zip "${2%/*}"',
    "busybox-like cat | dd": 'cat "$1" | dd of="$2" obs=32 status=none',
    "a scratch file left beside": 'cat "$1" > "$2"; cat "$1" > "$2.swp"; rm "$2.swp"',
    "removed half, then whole": 'head -c 60 "$1" > "$2"; rm "$2"; cat "$1" > "$2"',
}


@pytest.mark.promise("W8", "W10")
@pytest.mark.parametrize("script", DANCES.values(), ids=DANCES)
def test_dance(drop: Drop, script: str) -> None:
    drop.shell(script)
    eventually(lambda: not (drop.new / f"{drop.target.name}.error").exists())
    drop.check_started()


def test_two_who_write_different_requests_under_one_name(drop: Drop, tmp_path: Path) -> None:
    """At the same time, in small pieces: what the file holds when each closes it is asked for, or refused; no mixture
    is sent that nobody wrote, and nothing twice."""
    other = drop.content.replace(b'"maxFileSize": "1', b'"maxFileSize": "8')
    assert other != drop.content
    (tmp_path / "other.json").write_bytes(other)
    before = set(drop.simulator.sessions.ids())
    writers = [
        subprocess.Popen(["dd", f"if={source}", f"of={drop.target}", "bs=7", "conv=notrunc", "status=none"])
        for source in (drop.source, tmp_path / "other.json")
    ]
    assert {writer.wait(LIMIT) for writer in writers} <= {0, 1}
    assert len(drop.target.read_bytes()) == len(other)
    drop.shell('cat "$1" > "$2"')
    made = set(drop.simulator.sessions.ids()) - before
    sizes = [drop.simulator.sessions.find(session_id).options.max_file_size for session_id in made]
    written = {int(json.loads(content)["maxFileSize"]) for content in (drop.content, other)}
    assert len(sizes) == len(set(sizes)) == drop.calls
    assert set(sizes) <= written


def test_rsync_says_that_it_has_discarded_its_file(drop: Drop) -> None:
    """It wants a directory for what is not there yet, and ends with success all the same."""
    done = drop.run("rsync", "-a", "--delay-updates", drop.source, f"{drop.new}/")
    assert b"discarding completed file" in done.stderr
    assert not drop.target.exists()
    assert drop.calls == 0
