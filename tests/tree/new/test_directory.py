"""new/ as a directory: what it holds is given back, and nothing keeps it locked."""

import itertools
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from exportfs.errors import BadHandle, Exists, InvalidArgument, NotFound, TooLarge
from exportfs.vfs.new import directory
from exportfs.vfs.new.directory import RENAME_WAITS
from exportfs.vfs.new.file import MOST_XATTR_BYTES, RequestFile, SessionLink
from exportfs.vfs.node import SECOND, Changes
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.test_exactly_once_model import CONTENTS, Mounted


async def mounted(tmp_path: Path, nursery: trio.Nursery, *answers: str) -> Mounted:
    server = FakeServer(delay=0.01, starts=itertools.chain(answers, itertools.repeat("ok")), nursery=nursery)
    mount = Mounted(server, tmp_path / "journal", nursery)
    await mount.start()
    return mount


async def scratch(mount: Mounted, name: str, content: bytes) -> RequestFile:
    file, handle = await mount.new.create(name, 0o644, 1)
    await handle.write(0, content)
    try:
        await handle.flush()
    finally:
        await handle.release()
    return file


@pytest.mark.promise("W8")
async def test_a_rename_waits_a_second_for_the_outcome(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    mount = await mounted(tmp_path, nursery, "hang")
    await scratch(mount, ".x", CONTENTS[1])
    begun = trio.current_time()
    await mount.new.rename(".x", "a.json", replace=True)
    assert trio.current_time() - begun == pytest.approx(RENAME_WAITS, abs=0.1)
    await trio.sleep(TIMEOUT)
    assert "a.json" in mount.ledger.errors
    nursery.cancel_scope.cancel()


@pytest.mark.promise("W8")
async def test_a_rename_tells_of_a_refusal(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    mount = await mounted(tmp_path, nursery, "refused")
    await scratch(mount, ".x", CONTENTS[1])
    with pytest.raises(InvalidArgument):
        await mount.new.rename(".x", "a.json", replace=True)
    assert mount.new.file("a.json") is not None
    nursery.cancel_scope.cancel()


async def test_attributes_that_are_removed_give_their_room_back(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    mount = await mounted(tmp_path, nursery)
    file = await scratch(mount, ".x", b"")
    before = mount.new.bytes_held
    file.set_xattr("user.a", b"x" * 1000)
    file.set_xattr("user.a", b"x" * 3000)
    assert mount.new.bytes_held == before + 3000
    file.remove_xattr("user.a")
    assert mount.new.bytes_held == before
    nursery.cancel_scope.cancel()


async def test_attributes_have_room_up_to_a_bound(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """One that is set anew needs room for what it is now, not for what it was as well."""
    mount = await mounted(tmp_path, nursery)
    file = await scratch(mount, ".x", b"")
    before = mount.new.bytes_held
    for value in (b"x", b"y"):
        file.set_xattr("user.a", value * 40 * 1024)
    file.set_xattr("user.b", b"z" * 24 * 1024)
    for name in ("user.b", "user.c"):
        with pytest.raises(TooLarge):
            file.set_xattr(name, b"z" * (24 * 1024 + 1))
    assert file.xattrs() == {"user.a": b"y" * 40 * 1024, "user.b": b"z" * 24 * 1024}
    assert mount.new.bytes_held == before + MOST_XATTR_BYTES
    nursery.cancel_scope.cancel()


@pytest.mark.promise("W15")
async def test_what_files_hold_is_counted_until_it_is_let_go_of(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """Whatever is written where, cut off or put on, and however long somebody has it open that was removed."""
    mount = await mounted(tmp_path, nursery)
    new = mount.new
    object.__setattr__(new._context, "wall", trio.current_time)
    file, writer = await new.create("a.tmp", 0o640, os.O_RDWR)
    reader = await file.open(os.O_RDONLY)
    for offset, data, held in (
        (0, b"0123456789", b"0123456789"),
        (2, b"abc", b"01abc56789"),
        (8, b"xyz", b"01abc567xyz"),
        (13, b"end", b"01abc567xyz\0\0end"),
    ):
        await trio.sleep(10)
        assert await writer.write(offset, data) == len(data)
        assert file.attributes().mtime_ns // SECOND == int(trio.current_time())
        assert await reader.read(0, 99) == held
        assert new.bytes_held == file.attributes().size == len(held)
    assert await reader.read(9, 4) == b"yz\0\0"
    for size in (12, 4, 4, 6):
        await file.change(Changes(size=size))
        assert new.bytes_held == size
    assert await reader.read(0, 99) == b"01ab\0\0"
    file.set_xattr("user.a", b"more")
    assert new.bytes_held == 10
    new.unlink("a.tmp")
    await writer.flush()
    await writer.release()
    assert (new.bytes_held, file.attributes().nlink) == (10, 0)
    assert await reader.read(0, 99) == b"01ab\0\0"
    with pytest.raises(BadHandle):
        await reader.write(0, b"x")
    await reader.release()
    assert new.bytes_held == 0
    # Once more by its number, which the kernel may still know.
    reader = await file.open(os.O_RDONLY)
    assert await reader.read(0, 99) == b""
    await reader.release()
    assert new.bytes_held == 0
    nursery.cancel_scope.cancel()


@pytest.mark.promise("W6")
async def test_what_was_wrong_with_a_file_goes_when_another_takes_its_name(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    mount = await mounted(tmp_path, nursery, "refused")
    with pytest.raises(InvalidArgument):
        await scratch(mount, "a.json", CONTENTS[1])
    assert "a.json.error" in (await mount.new.entries()).names
    await scratch(mount, ".x", b"")
    await mount.new.rename(".x", "a.json", replace=True)
    assert (await mount.new.entries()).names == ["a.json"]
    with pytest.raises(NotFound):
        await mount.new.lookup("a.json.error")
    nursery.cancel_scope.cancel()


@pytest.mark.promise("W5")
async def test_a_link_leads_to_what_its_file_asks_for_now(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    mount = await mounted(tmp_path, nursery)
    object.__setattr__(mount.new._context, "wall", trio.current_time)
    file = await scratch(mount, "a.json", CONTENTS[1])
    led, inodes = [], mount.new._context.inodes
    for number in (1, 2, 2):
        await trio.sleep(100)
        handle = await file.open(os.O_WRONLY | os.O_TRUNC)
        await handle.write(0, CONTENTS[number])
        await handle.flush()
        await handle.release()
        closed = int(trio.current_time())
        await trio.sleep(100)
        link = await mount.new.lookup("a")
        assert isinstance(link, SessionLink)
        assert inodes.find(link.ino) is link
        led.append((link.ino, link.session_id, link.target()))
        if len(led) == 2:
            assert link.attributes().mtime_ns // SECOND == mount.new.attributes().mtime_ns // SECOND == closed
    first, second = list(mount.server.sessions)
    assert [session_id for _, session_id, _ in led] == [first, second, second]
    names = [mount.new._directory_name(session_id) for session_id in (first, second, second)]
    assert [target for _, _, target in led] == [f"../sessions/{name}" for name in names]
    assert led[0][0] != led[1][0] == led[2][0]
    assert inodes.find(led[0][0]) is None
    mount.new.unlink("a.json")
    assert inodes.find(led[1][0]) is None
    assert (await mount.new.entries()).names == []
    nursery.cancel_scope.cancel()


@pytest.mark.promise("T4", "W5")
@pytest.mark.parametrize("how", ["listed", "looked up"])
async def test_who_looks_at_a_link_is_told_in_time_that_its_session_is_gone(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, how: str
) -> None:
    """Though nobody looks into sessions/, and so lists are rare."""
    mount = await mounted(tmp_path, nursery)
    await scratch(mount, "a.json", CONTENTS[1])
    await trio.sleep(1000)

    async def there() -> bool:
        if how == "listed":
            return "a" in (await mount.new.entries()).names
        try:
            await mount.new.lookup("a")
        except NotFound:
            return False
        return True

    assert await there()
    await trio.sleep(2 * mount.catalogue.refresh_seconds)
    mount.server.sessions.clear()
    for _ in range(round(mount.catalogue.refresh_seconds)):
        await there()
        await trio.sleep(1)
    assert not await there()
    nursery.cancel_scope.cancel()


async def test_the_folder_has_the_time_of_its_last_change(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Programs that keep a listing go by it."""
    monkeypatch.setattr(directory, "MOST_FILES", 2)
    mount = await mounted(tmp_path, nursery, "refused")
    object.__setattr__(mount.new._context, "wall", trio.current_time)
    begun = int(trio.current_time())
    seen = []

    async def look() -> None:
        await trio.sleep(10)
        time = mount.new.attributes().mtime_ns // SECOND - begun
        seen.append((sorted((await mount.new.entries()).names), time // 10 * 10))

    await scratch(mount, "a.tmp", b"x")
    await look()
    await mount.new.rename("a.tmp", "b.tmp", replace=False)
    await look()
    with pytest.raises(InvalidArgument):
        await scratch(mount, "r.json", CONTENTS[1])
    await look()
    await scratch(mount, "c.tmp", b"x")  # and what was refused makes room
    await look()
    mount.new.unlink("b.tmp")
    await look()
    await look()
    assert seen == [
        (["a.tmp"], 0),
        (["b.tmp"], 10),
        (["b.tmp", "r.json", "r.json.error"], 20),
        (["b.tmp", "c.tmp"], 30),
        (["c.tmp"], 40),
        (["c.tmp"], 40),
    ]
    nursery.cancel_scope.cancel()


async def test_a_rename_that_is_to_replace_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """And one onto itself, which replaces nothing either."""
    mount = await mounted(tmp_path, nursery)
    files = {name: await scratch(mount, name, name.encode()) for name in ("a.tmp", "b.tmp")}
    with pytest.raises(Exists):
        await mount.new.rename("a.tmp", "b.tmp", replace=False)
    await mount.new.rename("a.tmp", "a.tmp", replace=True)
    with pytest.raises(NotFound):
        await mount.new.rename("c.tmp", "d.tmp", replace=True)
    assert (await mount.new.entries()).names == list(files)
    for name, file in files.items():
        assert mount.new.file(name) is file
        assert file.content == name.encode()
    await mount.new.rename("a.tmp", "b.tmp", replace=True)
    assert mount.new.file("b.tmp") is files["a.tmp"]
    assert mount.new.bytes_held == 5
    nursery.cancel_scope.cancel()
