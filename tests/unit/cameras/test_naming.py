"""Names of cameras' directories, and which camera a name means."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.cameras.naming import directory_names, find_agent, find_archive, find_camera
from exportfs.errors import InvalidArgument
from exportfs.naming import encode, same_key, tag
from exportfs.site import Agent, Camera
from tests.unit.cameras.fake_site import archive, camera


def named(*cameras: Camera) -> list[tuple[str, Camera]]:
    names = directory_names(cameras)
    return [(names[one.access_point], one) for one in cameras]


@pytest.mark.parametrize(
    ("cameras", "expected"),
    [
        ([camera(1, "Gate north")], ["1.Gate north"]),
        ([camera(1, "Hall A/B")], ["1.Hall A_B"]),
        ([camera(1, "x", id="")], ["x"]),
        ([camera(1, "Gate"), camera(1, "Gate", node="NODE2")], ["1.Gate@Server", "1.Gate@NODE2"]),
        ([camera(1, "Gate"), camera(1, "GATE", node="NODE2")], ["1.Gate@Server", "1.GATE@NODE2"]),
        # Equal after mending, and on one node.
        (
            [camera(1, "a/b", id="9"), camera(2, "a:b", id="9")],
            [f"9.a_b@Server~{tag(camera(n).access_point)}" for n in (1, 2)],
        ),
        # Hangul in two normal forms counts as the same.
        (
            [camera(1, "정문"), camera(1, unicodedata.normalize("NFD", "정문"), node="B")],
            ["1.정문@Server", unicodedata.normalize("NFD", "1.정문") + "@B"],
        ),
        ([camera(1, ""), camera(2, "\x00\u202e")], ["1.Camera 1", "2.__"]),
    ],
)
def test_directory_names(cameras: list[Camera], expected: list[str]) -> None:
    assert [name for name, _ in named(*cameras)] == expected


def test_a_label_that_looks_like_one_told_apart() -> None:
    """Its node's suffix is somebody else's whole label."""
    cameras = [camera(1, "A"), camera(1, "A", node="B"), camera(3, "A@B", id="1", node="C")]
    names = directory_names(cameras)
    assert len({same_key(name) for name in names.values()}) == 3


TEXTS = st.text(st.characters(), max_size=30)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["A", "B", "A/B", ""])), max_size=8))
def test_any_labels_give_legal_and_different_names(labels: list[tuple[str, str, str]]) -> None:
    cameras = [
        Camera(f"hosts/{node}/DeviceIpint.{number}/x", name, camera_id)
        for number, (name, camera_id, node) in enumerate(labels)
    ]
    names = directory_names(cameras)
    assert len(names) == len(cameras)
    assert len({same_key(name) for name in names.values()}) == len(cameras)
    for name in names.values():
        assert 0 < len(encode(name)) <= 255
        assert not set(name) & set('/\\\0<>:"|?*')
        assert name[0] != "."
        assert directory_names(reversed(cameras)) == names


SITE = named(
    camera(1, "Gate north"),
    camera(2, "Gate south"),
    camera(1, "Gate north", node="NODE2"),
    camera(5, "정문"),
    camera(7, "2.Gate south"),
)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1.Gate north@NODE2", 2),
        ("Gate south", 1),
        ("gate SOUTH", 1),
        ("5", 3),
        (unicodedata.normalize("NFD", "정문"), 3),
        ("hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0", 0),
        ("7.2.Gate south", 4),
    ],
)
def test_a_name_that_means_one_camera(text: str, number: int) -> None:
    assert find_camera(text, SITE) is SITE[number][1]


@pytest.mark.parametrize("text", ["Gate north", "1", "1.gate north", "2.Gate south"])
def test_an_ambiguous_name_is_refused_with_the_candidates(text: str) -> None:
    with pytest.raises(InvalidArgument, match="ambiguous") as error:
        find_camera(text, SITE)
    assert "(hosts/" in str(error.value)


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidArgument, match=r"did you mean .*Gate south"):
        find_camera("Gaet south", SITE)
    with pytest.raises(InvalidArgument, match=r"did you mean .*Gate south"):
        find_camera("gate", SITE)
    with pytest.raises(InvalidArgument, match="names no cameras"):
        find_camera("x", [])


def test_names_in_requests_are_no_patterns() -> None:
    with pytest.raises(InvalidArgument, match="no camera"):
        find_camera("Gate s*", SITE)


def test_archives_by_name() -> None:
    both = camera(archives=(archive("A"), archive("Long term"), archive("a", embedded=True)))
    assert find_archive("long TERM", both).name == "Long term"
    with pytest.raises(InvalidArgument, match="ambiguous"):
        find_archive("a", both)
    with pytest.raises(InvalidArgument, match="it has A, Long term"):
        find_archive("b", both)


def test_agents_by_name() -> None:
    agents = [Agent("hosts/S/MMExportAgent.0", "First"), Agent("hosts/S/MMExportAgent.1", "Second")]
    assert find_agent("second", agents) is agents[1]
    assert find_agent("hosts/S/MMExportAgent.0", agents) is agents[0]
    with pytest.raises(InvalidArgument, match="there is First"):
        find_agent("third", agents)
    with pytest.raises(InvalidArgument, match="names none"):
        find_agent("third", [])
