"""The engine under `copy`: resumption, checkpoints, names and sums."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exportfs.client import copy_file
from exportfs.client.copy_file import DestinationTrouble, Job, SourceTrouble, copy_result
from exportfs.client.manifest import is_plain, local_names, side_name, sums_line
from exportfs.errors import Corrupt
from tests.support.small_files import CHUNK, CONTENT

pytestmark = pytest.mark.usefixtures("small_steps")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    return Job(source, len(CONTENT), tmp_path / "target", tmp_path / "target.part", "identity")


class Killed(BaseException):
    """The process ends; nothing of it runs any more but what must."""


def killed_at(offset: int) -> Callable[[str, int], None]:
    def report(phase: str, done: int) -> None:
        if phase == copy_file.COPY and done >= offset:
            raise Killed

    return report


def silent(phase: str, done: int) -> None:
    pass


def reads(job: Job) -> list[int]:
    """Where the copy starts to read the source, by what it reports."""
    seen: list[int] = []
    copy_result(job, lambda phase, done: seen.append(done) if phase == copy_file.COPY else None)
    return seen


def test_interrupted_copy_goes_on_where_it_was(job: Job) -> None:
    with pytest.raises(Killed):
        copy_result(job, killed_at(5 * CHUNK))
    assert reads(job)[0] == 6 * CHUNK
    assert job.target.read_bytes() == CONTENT
    assert not job.part.exists()


@pytest.mark.parametrize("line", range(30, 60))
def test_interrupted_at_any_line(job: Job, line: int) -> None:
    """Ctrl-C comes between any two lines; what was copied by then is not read again."""
    seen = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal seen
        if frame.f_code is not copy_file._transfer.__code__:
            return None
        if event == "line":
            seen += 1
            if seen == line:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        with pytest.raises(KeyboardInterrupt):
            copy_result(job, silent)
    finally:
        sys.settrace(None)
    copied = job.part.stat().st_size
    assert copied > CHUNK
    assert reads(job)[0] >= copied


def test_killed_copy_goes_on_at_the_checkpoint(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = copy_file._save, []

    def save(*args: Any) -> None:
        calls.append(args[3])
        # Of a killed process, the last checkpoint is not written.
        if args[3] != 5 * CHUNK:
            real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(copy_file, "_save", save)
        with pytest.raises(Killed):
            copy_result(job, killed_at(5 * CHUNK))
    assert calls == [0, 3 * CHUNK, 5 * CHUNK]
    assert reads(job)[0] == 4 * CHUNK
    assert job.target.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "spoil", ["part", "short", "gone", "state", "fields", "offset", "identity", "size", "no state"]
)
def test_remnant_that_cannot_be_trusted_is_not_used(job: Job, spoil: str) -> None:
    with pytest.raises(Killed):
        copy_result(job, killed_at(5 * CHUNK))
    state = json.loads(job.state.read_text())
    if spoil == "part":
        with job.part.open("r+b") as file:
            file.seek(17)
            file.write(b"\0\0")
    elif spoil == "short":
        os.truncate(job.part, CHUNK)
    elif spoil == "gone":
        job.part.unlink()
    elif spoil == "state":
        job.state.write_text("{")
    elif spoil == "fields":  # as another version may have them
        job.state.write_text(json.dumps({**state, "more": 1}))
    elif spoil == "offset":
        job.state.write_text(json.dumps({**state, "offset": str(state["offset"])}))
    elif spoil == "identity":
        job.state.write_text(json.dumps({**state, "identity": "of another"}))
    elif spoil == "size":
        job.state.write_text(json.dumps({**state, "offset": 10**9}))
    else:
        job.state.unlink()
    assert reads(job)[0] == CHUNK
    assert job.target.read_bytes() == CONTENT


def test_part_that_is_longer_than_its_checkpoint_is_cut(job: Job) -> None:
    with pytest.raises(Killed):
        copy_result(job, killed_at(5 * CHUNK))
    with job.part.open("ab") as file:
        file.write(b"garbage" * 10_000)
    copy_result(job, silent)
    assert job.target.read_bytes() == CONTENT


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(CONTENT)), max_size=5))
def test_any_number_of_cuts(job: Job, cuts: list[int]) -> None:
    for left in (job.target, job.part, job.state):
        left.unlink(missing_ok=True)
    for cut in cuts:
        with contextlib.suppress(Killed):
            copy_result(job, killed_at(cut))
        assert not job.target.exists() or job.target.read_bytes() == CONTENT
    assert copy_result(job, silent) == hashlib.sha256(CONTENT).hexdigest()
    assert job.target.read_bytes() == CONTENT


def test_disk_that_lies_is_found_out(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    real = copy_file._write_all
    monkeypatch.setattr(copy_file, "_write_all", lambda fd, data: real(fd, memoryview(bytes(len(data)))))
    with pytest.raises(Corrupt, match="check the disk"):
        copy_result(job, silent)
    assert not job.target.exists()
    assert not job.part.exists()


def test_source_that_fails(job: Job) -> None:
    job.source.unlink()
    with pytest.raises(SourceTrouble, match="source"):
        copy_result(job, silent)
    assert not job.target.exists()


def test_source_that_goes_while_its_copy_is_verified(job: Job) -> None:
    def report(phase: str, done: int) -> None:
        if phase == copy_file.VERIFY:
            job.source.unlink(missing_ok=True)

    with pytest.raises(SourceTrouble, match="source"):
        copy_result(job, report)
    assert not job.target.exists()


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_stays_open(job: Job, fails: bool) -> None:
    """Of thousands of results the last ones could not be copied."""
    if fails:
        os.truncate(job.source, len(CONTENT) - 1)
    with contextlib.ExitStack() as stack:
        if fails:
            stack.enter_context(pytest.raises(SourceTrouble))
        copy_result(job, silent)
    links = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    places = {os.readlink(link) for link in links if link.is_symlink()}
    assert not any(place.startswith(f"{job.source.parent}/") for place in places)


def test_link_in_the_place_of_a_part_is_not_followed(job: Job, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    job.part.symlink_to(victim)
    with pytest.raises(DestinationTrouble):
        copy_result(job, silent)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["plain", "with blank", "back\\slash", "line\nbreak", "re\rturn", "\udcff", "ü"]
)
def test_sums_of_any_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "d" / name
    path.parent.mkdir()
    path.write_bytes(b"x")
    line = sums_line(hashlib.sha256(b"x").hexdigest(), name)
    (tmp_path / "d" / "SHA256SUMS").write_bytes(line)
    done = subprocess.run(["sha256sum", "--", name], cwd=path.parent, capture_output=True)
    assert done.stdout == line
    assert (
        subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=path.parent, capture_output=True).returncode
        == 0
    )


@given(st.lists(st.text(max_size=8), max_size=8))
def test_local_names_are_unique_on_any_disk(names: list[str]) -> None:
    result = [name.casefold() for name in local_names(names)]
    assert len(set(result)) == len(result)
    assert not {"manifest.json", "sha256sums", "-"} & set(result)


def test_local_names_in_two_normal_forms() -> None:
    """In a bag, where `%` becomes `_`, two names may come to differ in no more."""
    composed, decomposed = "a%\u00dc.mp4", "a_u\u0308.mp4"
    assert local_names([composed, decomposed], bag=True) == ["a_\u00dc.mp4", "a_u\u0308~2.mp4"]
    assert side_name("\u00fc", ["U\u0308.part"], "part").startswith(".")


def test_side_names() -> None:
    assert side_name("a", ["a"], "part") == "a.part"
    assert side_name("a", ["a", "A.PART"], "part") == side_name("a", ["a.part.state"], "part") != "a.part"
    long = side_name("ü" * 127, [], "part")
    assert len(os.fsencode(f"{long}.state")) <= 255


def test_plain_names() -> None:
    assert is_plain("a b.mp4")
    assert not any(map(is_plain, ("", ".", "..", ".a", "a/b", "a\0")))
