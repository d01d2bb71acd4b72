"""Copying one result: hashed on the way, resumable, read back before it gets its final name.

While it is copied it is `NAME.part`, with `NAME.part.state` beside it: up to which offset it is known to be
on the disk, and the SHA-256 up to there. What is not covered by that (the machine lost power) is copied
again, so that a damaged remnant can never become part of a result.
"""

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exportfs.bounded import Worker
from exportfs.client.asking import ask, close_there, open_there
from exportfs.client.regular import is_regular, read_regular
from exportfs.errors import Corrupt, ExportfsError
from exportfs.os_errors import sentence

CHUNK_BYTES = 1 << 20
PATIENCE = 30.0
"""Seconds that a mount which was stopped in the middle of a copy has to go on: as long as it gives the server."""
CHECKPOINT_BYTES = 64 << 20
"""Lost at most, when a copy is cut off hard."""
_STATE_BYTES = 512
"""Fixed, so that a checkpoint can be rewritten in place on a full disk."""

COPY, VERIFY, CHECK = "copying", "verifying", "checking"

Report = Callable[[str, int], None]
"""Called with the phase and the offset in bytes."""


class SourceTrouble(ExportfsError):
    """The result cannot be read; other results may."""


class DestinationTrouble(ExportfsError):
    """Nothing more can be written there."""


class TooLargeThere(ExportfsError):
    """No file of this size can be there; smaller ones may."""


@dataclass(frozen=True, slots=True)
class Job:
    """One result to copy."""

    source: Path
    size: int
    """Bytes that it must have."""
    target: Path
    part: Path
    identity: str
    """Of this result among all: what was begun for another one is not continued."""

    @property
    def state(self) -> Path:
        return self.part.with_name(f"{self.part.name}.state")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The first `offset` bytes of the part are on the disk and have this SHA-256."""

    identity: str
    offset: int
    sha256: str


def identify(*words: object) -> str:
    """A short form of what makes a result this one."""
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def copy_result(job: Job, report: Report) -> str:
    """Copy, verify, give the final name; the SHA-256.

    SourceTrouble, DestinationTrouble or Corrupt leave nothing under the final name that was not there before,
    and a part that the next call continues; TooLargeThere leaves nothing at all. The state file stays for the
    caller to `forget`, once it has written the hash down.
    """
    digest, offset = _resume(job, report)
    try:
        with _destination(job.part), _open_part(job.part) as part:
            _check_limit(part, job)
            os.ftruncate(part, offset)
            digest = _transfer(job, part, digest, offset, report)
    except TooLargeThere:
        # It could never be continued, and takes the room of others.
        for path in (job.part, job.state):
            with _destination(path):
                path.unlink(missing_ok=True)
        raise
    sha256 = digest.hexdigest()
    with _destination(job.part):
        if hash_file(job.part, lambda done: report(VERIFY, done), uncached=True) != sha256:
            job.part.unlink()
            raise Corrupt(f"{job.part}: the disk returned other data than was written: check the disk")
        with _source(job.source):
            times = ask(job.source, lambda: os.stat(job.source), patience=PATIENCE)
        _set_time(job.part, times.st_mtime_ns)
        os.replace(job.part, job.target)
        sync_directory(job.target.parent)
    return sha256


def finished(job: Job, report: Report) -> str | None:
    """The SHA-256 of a target that got its final name and was not written down: killed in between."""
    checkpoint = _read_checkpoint(job)
    if checkpoint is None or checkpoint.offset != job.size or job.part.exists() or not is_regular(job.target):
        return None
    if job.target.stat().st_size != job.size:
        return None
    sha256 = hash_file(job.target, lambda done: report(CHECK, done))
    return sha256 if sha256 == checkpoint.sha256 else None


def forget(job: Job) -> None:
    """The hash is written down elsewhere; the state file can go."""
    with _destination(job.state), contextlib.suppress(FileNotFoundError):
        job.state.unlink()


def hash_file(path: Path, report: Callable[[int], None], *, uncached: bool = False) -> str:
    """SHA-256 of the file. `uncached`: from the disk, as far as the system lets us."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb", buffering=0) as file:
        if uncached:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            done += len(block)
            report(done)
    return digest.hexdigest()


def sync_directory(directory: Path) -> None:
    """Make a new name last; some filesystems have no such thing."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _transfer(job: Job, part: int, digest: "hashlib._Hash", offset: int, report: Report) -> "hashlib._Hash":
    """From `offset` to the end, onto the disk. `digest` holds what is before it; the one of all is given back."""
    os.lseek(part, offset, os.SEEK_SET)
    saved = offset
    # Rewritten in place later on, which works on a full disk too.
    _save(job, part, digest, offset)
    # One assignment for both: a Ctrl-C between two would write down a hash that is of another place.
    done = digest, offset
    try:
        with _source(job.source), _blocks(job.source, offset) as blocks:
            for block in blocks:
                with _destination(job.part):
                    try:
                        _write_all(part, block)
                    except OSError as error:
                        if error.errno != errno.EFBIG:
                            raise
                        raise _too_large(job) from error
                digest = done[0].copy()
                digest.update(block)
                done = digest, done[1] + len(block)
                report(COPY, done[1])
                if done[1] - saved >= CHECKPOINT_BYTES:
                    with _destination(job.part):
                        _save(job, part, *done)
                    saved = done[1]
        if done[1] != job.size:
            raise SourceTrouble(
                f"{job.source}: has {done[1]} bytes, expected {job.size}: copy it again later"
            )
    except BaseException:
        with contextlib.suppress(OSError):
            _save(job, part, *done)
        raise
    with _destination(job.part):
        _save(job, part, *done)
    return done[0]


@contextlib.contextmanager
def _blocks(source: Path, offset: int) -> Iterator[Iterator[memoryview]]:
    """What is in the file from there on, each block until the next. Raises OSError, MountSilent."""
    buffer = memoryview(bytearray(CHUNK_BYTES))
    descriptor = open_there(source, os.O_RDONLY, patience=PATIENCE)
    worker = Worker()

    def blocks() -> Iterator[memoryview]:
        position = offset
        while True:
            read = partial(os.preadv, descriptor, [buffer], position)
            count = ask(source, read, patience=PATIENCE, start=worker.start)
            if not count:
                return
            yield buffer[:count]
            position += count

    try:
        yield blocks()
    finally:
        worker.close()
        close_there(source, descriptor)


def _check_limit(part: int, job: Job) -> None:
    """Raises TooLargeThere where the file system has no such offset (FAT: 4 GiB), before hours of copying."""
    try:
        os.lseek(part, job.size, os.SEEK_SET)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EFBIG, errno.EOVERFLOW):
            raise
        raise _too_large(job) from error


def _too_large(job: Job) -> TooLargeThere:
    return TooLargeThere(
        f"{job.target}: the disk takes no file of {job.size} bytes (FAT ends at 4 GiB, and `ulimit -f` sets a limit, "
        "too): copy it to another one"
    )


def _set_time(path: Path, moment_ns: int) -> None:
    """The footage's time, where that may be set: on a FAT disk or a share only its owner may. The bytes are right."""
    try:
        os.utime(path, ns=(moment_ns, moment_ns))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _resume(job: Job, report: Report) -> tuple["hashlib._Hash", int]:
    """Where to go on, and the hash up to there: at the start, unless the part is what its state says."""
    nothing = hashlib.sha256(), 0
    checkpoint = _read_checkpoint(job)
    if checkpoint is None or not 0 < checkpoint.offset <= job.size:
        return nothing
    digest, done = hashlib.sha256(), 0
    try:
        with job.part.open("rb", buffering=0) as file:
            while done < checkpoint.offset:
                block = file.read(min(CHUNK_BYTES, checkpoint.offset - done))
                if not block:
                    return nothing
                digest.update(block)
                done += len(block)
                report(CHECK, done)
    except FileNotFoundError:
        return nothing
    return (digest, done) if digest.hexdigest() == checkpoint.sha256 else nothing


def _save(job: Job, part: int, digest: "hashlib._Hash", offset: int) -> None:
    """Write the checkpoint, the data before it."""
    os.fsync(part)
    document = {"identity": job.identity, "offset": offset, "sha256": digest.hexdigest()}
    content = json.dumps(document).encode().ljust(_STATE_BYTES - 1) + b"\n"
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(job.state, flags, 0o644)
    try:
        os.pwrite(descriptor, content, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_checkpoint(job: Job) -> Checkpoint | None:
    """None where there is none, or it is damaged or another result's."""
    try:
        checkpoint = Checkpoint(**json.loads(read_regular(job.state)))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return checkpoint if checkpoint.identity == job.identity and isinstance(checkpoint.offset, int) else None


@contextlib.contextmanager
def _open_part(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _source(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise SourceTrouble(sentence(error)) from error


@contextlib.contextmanager
def _destination(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise DestinationTrouble(f"{sentence(error)}; repeat the command to resume from there") from error
