"""A mount namespace of a test's own, in which root can write to the system's folders and nothing of it stays."""

import contextlib
import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"
shift
scratch=$0
for folder in "$@"; do
    name=$(echo "$folder" | tr / _)
    mkdir "$scratch/$name" "$scratch/$name.work"
    mount -t overlay -o "lowerdir=$folder,upperdir=$scratch/$name,workdir=$scratch/$name.work" none "$folder"
done
if [ -n "$EVERYBODYS" ]; then
    exec 3<"$PROJECT"
    mount -t tmpfs -o mode=755 none "$EVERYBODYS"
    mkdir -p "$PROJECT"
    mount --no-canonicalize --bind /proc/self/fd/3 "$PROJECT"
    exec 3<&-
fi
echo ready
exec cat
"""


class Namespace:
    """Run commands in it with `run`."""

    def __init__(self, pid: int) -> None:
        self._enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--"]

    def run(
        self, *words: object, code: int | None = 0, within: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """`code` is the exit code that it must have (None: whichever)."""
        done = subprocess.run(
            [*self._enter, *map(str, words)],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=within,
            cwd="/",
            # What lies there, in a folder of anybody's, say, would be ours to root.
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


@contextlib.contextmanager
def namespace(scratch: Path, *folders: str, alone: bool = False) -> Iterator[Namespace]:
    """`scratch` is an empty directory; `folders` of the system become writable copies of themselves. Needs root.

    alone: where the project lies below a folder of everybody's, such as /tmp, that holds the project alone and is
    root's: what others could replace is not installed for root.
    """
    open_to_all = (folder for folder in PROJECT.parents if folder.stat().st_mode & stat.S_IWOTH)
    everybodys = next(open_to_all, "") if alone else ""
    with subprocess.Popen(
        ["unshare", "-m", "--propagation", "private", "sh", "-c", SCRIPT, scratch, scratch, *folders],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PROJECT": os.fspath(PROJECT), "EVERYBODYS": os.fspath(everybodys)},
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        try:
            yield Namespace(holder.pid)
        finally:
            holder.kill()


COPY = (
    r"axxon-exportfs: the copy of the mount in the mount namespace of process {} \(.*\) has ended with it\n"
)


def without_copies(said: str) -> str:
    """What `umount` said, without what it says of copies of the mount: each namespace that is made on the machine while
    it is there gets one, those of tests that run at the same time among them."""
    return re.sub(f"^{COPY.format('[0-9]+')}", "", said, flags=re.MULTILINE)
