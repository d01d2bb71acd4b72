"""Names from a hostile server are legal, different, and the same everywhere."""

import json
import os
import re
import subprocess
import sys
import time
import unicodedata
from random import Random
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exportfs.model import OptionsSummary
from exportfs.naming import (
    camera_name,
    disambiguate,
    encode,
    percent_encode,
    result_name,
    result_names,
    session_name,
    split_extension,
    tag,
)
from tests.support.hostile import MIME_TYPES, texts

DOS = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³")}
FILES = st.lists(st.tuples(texts(), MIME_TYPES), max_size=12)
quick = settings(deadline=None, max_examples=150)


def assert_legal(name: str) -> None:
    """On ext4, exFAT and NTFS alike."""
    assert 0 < len(name.encode()) <= 255
    assert not re.search(r'[<>:"|?*/\\\0]', name)
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert name.partition(".")[0].lower() not in DOS
    assert not any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name)


def folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


@pytest.mark.promise("N6", "N8", "N9", "N10")
@quick
@given(FILES)
@example([("a.mp4", ""), ("A.MP4", ""), ("a~2.mp4", ""), ("x/a.mp4", ""), ("a~2.mp4", "")])
@example([("é", ""), ("e\u0301", ""), ("É", "")])
@example([("x" * 300, "video/mp4"), ("x" * 300, "video/mp4"), ("x" * 254 + "y", "video/mp4")])
def test_results_are_legal_and_different(files: list[tuple[str, str]]) -> None:
    names = result_names(files)
    assert len(names) == len(files)
    for name in names:
        assert_legal(name)
    assert len({folded(name) for name in names}) == len(files)


@pytest.mark.promise("N7")
@quick
@given(
    texts(),
    st.sampled_from([("video/mp4", {".mp4", ".m4v"}), ("image/jpeg", {".jpg", ".jpeg", ".jpe", ".jfif"})]),
)
def test_extension_agrees_with_type(file_id: str, kind: tuple[str, set[str]]) -> None:
    name = result_name(file_id, kind[0])
    assert split_extension(name)[1].lower() in kind[1]
    # Mending what is mended already changes nothing.
    assert result_name(name, kind[0]) == name


@pytest.mark.promise("N6", "N7", "N8")
@pytest.mark.parametrize(
    ("file_id", "mime_type", "name"),
    [
        ("DeviceIpint.1_20260511T080411Z.mp4", "video/mp4", "DeviceIpint.1_20260511T080411Z.mp4"),
        ("a/b\\c.jpg", "image/jpeg", "c.jpg"),
        ("a/b/", "", "b"),
        ("clip", "video/x-matroska", "clip.mkv"),
        ("clip.mp4", "video/x-matroska", "clip.mp4.mkv"),
        ("clip.JPEG", "image/jpeg", "clip.JPEG"),
        ("clip.bin", "application/unheard-of", "clip.bin"),
        ("", "application/pdf", "_.pdf"),
        ("..", "", "__"),
        (".", "", "_"),
        (".control", "", "_control"),
        (".session.json", "", "_session.json"),
        ("con.mp4", "video/mp4", "_con.mp4"),
        ("NUL", "video/mp4", "_NUL.mp4"),
        ("console.mp4", "video/mp4", "console.mp4"),
        ('a<>:"|?*b', "", "a_______b"),
        ("tail. . ", "", "tail____"),
        ("a\nb\x1bc\x7f", "", "a_b_c_"),
        ("fdp\u202eexe.pdf", "", "fdp_exe.pdf"),
        ("\udcff\udcfe.mp4", "video/mp4", "__.mp4"),
        ("x" * 300 + ".mp4", "video/mp4", "x" * 251 + ".mp4"),
        ("日" * 100 + ".mp4", "video/mp4", "日" * 83 + ".mp4"),
    ],
)
def test_result_name(file_id: str, mime_type: str, name: str) -> None:
    assert result_name(file_id, mime_type) == name


@pytest.mark.promise("N9")
def test_equal_names_are_numbered_in_the_servers_order() -> None:
    files = [("x/a.mp4", ""), ("a~2.mp4", ""), ("y/a.mp4", ""), ("A.mp4", "")]
    assert result_names(files) == ["a.mp4", "a~2.mp4", "a~3.mp4", "A~4.mp4"]


def test_many_equal_names_take_no_quadratic_time() -> None:
    begun = time.process_time()
    names = result_names([("same.mp4", "video/mp4")] * 20_000)
    # A fifteenth of a second; minutes, where each name looks through all before it.
    assert time.process_time() - begun < 5
    assert names[-1] == "same~20000.mp4"


@pytest.mark.promise("N1", "N2", "N3")
@quick
@given(
    texts(),
    st.builds(
        OptionsSummary, live=st.booleans(), origin=texts(), start=texts(2), more_origins=st.integers(0, 2**31)
    ),
)
def test_session_name_is_legal(session_id: str, summary: OptionsSummary) -> None:
    name = session_name(session_id, summary)
    assert_legal(name)
    assert name.endswith(f"_video_{tag(session_id)}")
    assert re.fullmatch("[a-z2-7]{8}", tag(session_id))


@pytest.mark.promise("N1", "N2", "N3")
@pytest.mark.parametrize(
    ("summary", "start"),
    [
        (OptionsSummary(live=True, kind="jpg", origin="hosts/S/D.1/V:0:0"), "live_S.D.1_jpg_"),
        (
            OptionsSummary(start="20260511T080411.5", kind="mp4", origin="hosts/S/D.1/V:0:0"),
            "20260511T080411Z_S.D.1_mp4_",
        ),
        (OptionsSummary(start="soon", kind="image", origin="x", more_origins=2), "undated_x+2_image_"),
        (OptionsSummary(start="20260511T080411"), "20260511T080411Z_unknown_video_"),
        (OptionsSummary(start="00010101T000000"), "00010101T000000Z_unknown_video_"),
        (OptionsSummary(start="2026-05-11T10:04:11+02:00"), "20260511T080411Z_unknown_video_"),
    ],
)
def test_session_name(summary: OptionsSummary, start: str) -> None:
    assert session_name("an id", summary) == start + tag("an id")


@pytest.mark.promise("N2")
@pytest.mark.parametrize(
    ("origin", "camera"),
    [
        ("hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0", "Server.DeviceIpint.1"),
        ("hosts/Server", "Server"),
        ("", "unknown"),
        ("hosts/", "unknown"),
        ("a//b/c", "a.b"),
    ],
)
def test_camera(origin: str, camera: str) -> None:
    assert camera_name(origin) == camera


@pytest.mark.promise("N3")
def test_tag_is_of_the_id_as_the_server_sent_it() -> None:
    # printf hosts/Server/1 | sha256sum | xxd -r -p | base32
    assert tag("hosts/Server/1") == "syopo7ja"


@pytest.mark.promise("N5", "N11")
@quick
@given(texts())
def test_percent_encoding(session_id: str) -> None:
    encoded = percent_encode(session_id)
    assert re.fullmatch("(?:[A-Za-z0-9._-]|%[0-9A-F]{2})*", encoded)
    assert unquote_to_bytes(encoded) == encode(session_id)


@pytest.mark.promise("N4")
@quick
@given(st.dictionaries(texts(3), st.sampled_from(("a", "b", "a~2", "x" * 255)), max_size=8), st.randoms())
def test_disambiguate(names: dict[str, str], rng: Random) -> None:
    pairs = list(names.items())
    unique = dict(disambiguate(pairs))
    assert len(set(unique.values())) == len(pairs)
    assert all(len(name.encode()) <= 255 for name in unique.values())
    rng.shuffle(pairs)
    assert dict(disambiguate(pairs)) == unique


@pytest.mark.promise("N4")
def test_the_later_in_the_order_of_ids_is_numbered() -> None:
    pairs = [("c", "same"), ("a", "same"), ("b", "other"), ("b2", "same")]
    assert dict(disambiguate(pairs)) == {"a": "same", "b": "other", "b2": "same~2", "c": "same~3"}


@pytest.mark.promise("N4")
def test_names_are_the_same_in_another_process() -> None:
    files = [
        ("\udcff/x\u202e.MP4", "video/mp4"),
        ("é\0" * 200, ""),
        ("ß", ""),
        ("SS", ""),
        ("a", ""),
        ("A", ""),
    ]
    code = (
        "import json, sys; from exportfs.naming import result_names; "
        "print(json.dumps(result_names(json.loads(sys.stdin.read()))))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "LC_ALL": "C", "PYTHONHASHSEED": "4711"},
    )
    assert json.loads(result.stdout) == result_names(files)
