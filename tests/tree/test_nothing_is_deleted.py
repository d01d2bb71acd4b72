"""No program deletes an export that nobody named: real ones of every family, on a real mount.

What they say and return is theirs; the server must hear of no stop and no destroy, and every byte must still be there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from exportfs.simulator.exports.session import RUNNING
from exportfs.wire import export
from tests.support.harness import CAMERA, MountProcess, mounted

pytestmark = [pytest.mark.mount, pytest.mark.promise("S7")]

PYTHON = {
    "shutil.rmtree": "shutil.rmtree(s, ignore_errors=True); shutil.rmtree(root + '/sessions', ignore_errors=True)",
    "os.removedirs": "attempt(os.removedirs, s)",
    "os.renames": "attempt(os.renames, s, t + '/a/b'); attempt(os.renames, s, root + '/new/x/y')",
    "shutil.move": "attempt(shutil.move, s, t); attempt(shutil.move, s, root + '/new/moved')",
    "TemporaryDirectory": (
        "d = tempfile.TemporaryDirectory(dir=t, ignore_cleanup_errors=True); shutil.rmtree(d.name); "
        "os.symlink(s, d.name); d.cleanup()"
    ),
    "a whole mount": "shutil.rmtree(root, ignore_errors=True)",
}
PRELUDE = """
import os, shutil, sys, tempfile
s, t, root = (os.environ[key] for key in "STR")
def attempt(function, *args):
    try:
        function(*args)
    except (OSError, shutil.Error):
        pass
"""

SHELL = {
    "rm -r": 'yes | rm -r "$S"; rm -rf "$S" "$R/sessions" "$R"; rm -rf "$R"/sessions/*; rm -f "$S"/.*',
    "rmdir": 'rmdir "$S"; rmdir -p "$S"; rmdir "$R"/sessions/*; rmdir --ignore-fail-on-non-empty "$S"',
    "find -delete": 'find "$R/sessions" -delete; find "$R" -depth -exec rm -rf {} +; find "$S" -empty -delete',
    "find, only directories": 'find "$R/sessions" -type d -depth -exec rmdir {} ";"',
    "unlink": 'unlink "$S/.control"; unlink "$S/.session.json"; unlink "$S"',
    "mv": 'mv "$S" "$T/"; mv "$R"/sessions "$T/all"; mv -f "$S" "$O"; mv -T "$S" "$R/new/x"; mv "$S" "$R/new/"',
    "mv onto": 'mkdir "$T/d"; mv -T "$T/d" "$S"; touch "$R/new/f.tmp"; mv -T "$R/new/f.tmp" "$S"; mv "$T/d" "$S"',
    "cp onto": 'cp -rf --remove-destination "$O/." "$S/"; cp -a "$O/." "$S"; cp /etc/passwd "$S/.control"',
    "text into .control": (
        'cat "$R"/sessions/*/.*.json > "$S/.control"; cat "$R/README.txt" | tee -a "$S/.control"; '
        'cat "$O/.control" > "$S/.control"; sed p "$O/.control" | tee "$S/.control"; cp "$O/.control" "$S/"; '
        'echo "do not destroy" > "$S/.control"; sed -i s/stop/x/ "$S/.control"; : > "$S/.control"; '
        'truncate -s 0 "$S/.control"; shred -u "$S/.control"'
    ),
    "tar --remove-files": 'tar --remove-files -cf "$T/a.tar" "$S"; tar --remove-files -cf "$T/b.tar" "$R/sessions"',
    "tar over it": 'mkdir "$T/x"; touch "$T/x/y"; tar -C "$T" -cf - x | tar -C "$S" --recursive-unlink -xf -; '
    'tar -C "$T" -cf - --transform "s,^x,$(basename "$S")," x | tar -C "$R/sessions" --recursive-unlink -xf -',
    "zip -m": 'cd "$R" && zip -qrm "$T/a.zip" sessions; zip -qrm "$T/b.zip" "$S"; zip -qmTr "$T/c.zip" sessions',
    "rsync --delete": (
        'mkdir "$T/empty"; rsync -a --delete --exclude=/state --exclude=/mount.log "$T/empty/" "$R/../"; '
        'rsync -a --delete --force "$T/empty/" "$R/"; rsync -a --delete --force "$T/empty/" "$R/sessions/"; '
        'rsync -a --delete-before --force --ignore-errors "$T/empty/" "$S/"'
    ),
    "rsync over it": (
        'mkdir -p "$T/f"; touch "$T/f/$(basename "$S")"; rsync -a --force --delete "$T/f/" "$R/sessions/"; '
        'rsync -a --force --delete --backup --backup-dir="$T/bak" "$T/f/" "$R/sessions/"'
    ),
    "rsync --remove-source-files": 'rsync -a --remove-source-files "$S" "$T/copy"',
    "rclone": (
        'rclone purge "$S"; rclone delete --rmdirs "$S"; rclone rmdirs "$R/sessions"; rclone rmdir "$S"; '
        'mkdir -p "$T/e"; rclone sync "$T/e" "$R/sessions"; rclone sync --ignore-errors "$T/e" "$S"; '
        'rclone move --delete-empty-src-dirs "$S" "$T/moved"; rclone moveto "$S" "$R/sessions/other"; '
        'rclone cleanup "$R"'
    ),
    "7z -sdel": '7z a -bso0 -bsp0 -sdel "$T/a.7z" "$S"; 7z a -bso0 -bsp0 -sdel "$T/b.7z" "$R/sessions"',
    "gio": 'gio remove -f "$S" "$S"/*; gio trash "$S" "$S"/* "$R/sessions"; gio move "$S" "$T/"; gio rename "$S" x',
    "perl": (
        "perl -MFile::Path=remove_tree -e 'remove_tree($ENV{S}, {error => \\my $e}); rmdir $ENV{S}; unlink $ENV{S}; "
        "rename $ENV{S}, \"$ENV{R}/new/x\"'; perl -MFile::Copy=move -e 'move($ENV{S}, $ENV{T})'"
    ),
    "sftp": (
        'printf -- "-rm \\"$S/*\\"\\n-rm \\"$S/.control\\"\\n-rmdir \\"$S\\"\\n-rename \\"$S\\" \\"$R/new/x\\"\\n" | '
        "sftp -b - -D /usr/lib/openssh/sftp-server"
    ),
}
OPTIONAL = {
    "busybox": 'busybox rm -rf "$S"; busybox rmdir "$S"; busybox find "$R/sessions" -delete; busybox mv "$S" "$T/"',
    "zsh": "zsh -fc 'zmodload zsh/files; rm -rf $S; rmdir $S; mv $S $T'",
    "node": (
        'node -e \'const fs = require("fs"), {S, R, T} = process.env; for (const act of ['
        "() => fs.rmSync(S, {recursive: true, force: true}), () => fs.rmdirSync(S, {recursive: true}), "
        '() => fs.rmdirSync(S), () => fs.renameSync(S, T + "/x"), () => fs.renameSync(S, R + "/new/x")]) '
        "try { act() } catch {}'"
    ),
    "ruby": 'ruby -rfileutils -e \'FileUtils.rm_rf(ENV["S"]); FileUtils.mv(ENV["S"], ENV["T"]) rescue 0\'',
    "php": 'php -r \'@rmdir(getenv("S")); @rename(getenv("S"), getenv("T")."/x");\'',
    "trash-put": 'trash-put "$S" "$S"/*',
    "unison": (
        'mkdir -p "$T/u"; HOME="$T" unison "$T/u" "$R/sessions" -batch -confirmbigdel=false -force "$T/u" -auto; true'
    ),
    "kioclient5": 'kioclient5 --noninteractive remove "$S"; kioclient5 --noninteractive move "$S" trash:/',
}


@dataclass
class Scene:
    simulator: Simulator
    mount: MountProcess
    before: dict[str, bytes]

    def run(self, script: str, work: Path) -> None:
        """What it does to one session ($S) of the mount ($R), with another ($O) and a folder elsewhere ($T)."""
        root = self.mount.mountpoint
        one, other = sorted((root / "sessions").iterdir())[:2]
        env = {
            **os.environ,
            "R": str(root),
            "S": str(one),
            "O": str(other),
            "T": str(work),
            "HOME": str(work),
        }
        subprocess.run(
            ["sh", "-c", script],
            env=env,
            cwd=work,
            capture_output=True,
            timeout=120,
            stdin=subprocess.DEVNULL,
        )

    def look(self) -> dict[str, bytes]:
        root = self.mount.mountpoint / "sessions"
        found = {}
        for path in root.iterdir():
            for result in path.glob("[!.]*"):
                found[str(result.relative_to(root))] = result.read_bytes()
            assert (path / ".control").read_text() == "stop\ndestroy\n"
            assert (path / ".session.json").read_bytes()
        return found

    def check(self) -> None:
        counts = self.simulator.log.counts()
        assert not counts.keys() & {"DestroySession", "StopSession"}, counts
        assert [key for key in self.simulator.sessions.ids() if self.running(key)]
        assert self.look() == self.before

    def running(self, session_id: str) -> bool:
        return self.simulator.sessions.find(session_id).state == RUNNING


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One mount for all of them: with results, without, and one that runs."""
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    for sizes in ((70_000, 3), (), (10,)):
        simulator.add_computed(*sizes, expires=False)
    live = export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA)])
    simulator.sessions.start(export.Options(live=live, stream=export.StreamType(format="MKV")))
    with SimulatorServer(simulator) as server:
        folder = tmp_path_factory.mktemp("scene")
        with mounted(server.address, folder, "--insecure", "--refresh", "0.5", "--timeout", "10") as mount:
            scene = Scene(simulator, mount, {})
            scene.before = scene.look()
            assert len(scene.before) == 3
            yield scene
    simulator.close()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path


@pytest.mark.parametrize("name", SHELL)
def test_programs(scene: Scene, work: Path, name: str) -> None:
    scene.run(SHELL[name], work)
    scene.check()


@pytest.mark.parametrize("name", [name for name in OPTIONAL if shutil.which(name)])
def test_programs_that_happen_to_be_here(scene: Scene, work: Path, name: str) -> None:
    scene.run(OPTIONAL[name], work)
    scene.check()


@pytest.mark.parametrize("name", PYTHON)
def test_python(scene: Scene, work: Path, name: str) -> None:
    (work / "code.py").write_text(PRELUDE + PYTHON[name] + "\n")
    scene.run(f"'{sys.executable}' code.py", work)
    scene.check()


WEBDAV = """
rclone serve webdav "$R" --addr 127.0.0.1:0 2> "$T/log" &
child=$!
until url=$(grep -o 'http://127[^ ]*' "$T/log"); do kill -0 $child || exit 1; sleep 0.1; done
for path in "sessions/$(basename "$S")/" "sessions/$(basename "$S")/.control" sessions/ ""; do
    curl -s -X DELETE "$url$path" -o "$T/answer" -w '%{http_code}\\n' >> "$T/codes"
    curl -s -X MOVE -H "Destination: ${url}new/x" "$url$path" -o "$T/answer"
done
kill $child
wait $child
"""


def test_a_dav_server(scene: Scene, work: Path) -> None:
    scene.run(WEBDAV, work)
    assert (work / "codes").read_text().count("\n") == 4
    scene.check()
