"""What `export` writes: it is compared with the generated messages where they are built."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from exportfs.client.request import QUALITIES, SNAPSHOTS, STREAMS, Wish, build, check_name, default_name
from exportfs.errors import InvalidArgument

CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
START = datetime(2026, 5, 11, 10, 4, 11, tzinfo=timezone(timedelta(hours=2)))


def wish(**more: Any) -> Wish:
    return Wish(**{"cameras": (CAMERA,), "format": "mp4", **more})


def test_archive_video_with_everything() -> None:
    request = build(
        wish(
            cameras=(CAMERA, "hosts/Server/DeviceIpint.2/SourceEndpoint.video:0:0"),
            archive="hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage",
            start=START,
            duration=90,
            quality="small",
            comment='Über "uns"',
            mask=False,
            split=1 << 40,
            agent="hosts/Server/MMExportAgent.0",
            discrete=True,
        )
    )
    storages = ["hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage"]
    assert request == {
        "archive": {
            "sources": [
                {"origin": CAMERA, "storages": storages},
                {"origin": "hosts/Server/DeviceIpint.2/SourceEndpoint.video:0:0", "storages": storages},
            ],
            "startTimestamp": "2026-05-11T10:04:11+02:00",
            "endTimestamp": "2026-05-11T10:05:41+02:00",
            "discrete": True,
        },
        "stream": {"format": "MP4", "settings": [{"videoQuality": "C_SMALL_SIZE"}]},
        "settings": [{"comment": 'Über "uns"'}, {"applyMask": False}],
        "maxFileSize": "1099511627776",
        "exportAgentAccessPoint": "hosts/Server/MMExportAgent.0",
    }


def test_live_video() -> None:
    assert build(wish(format="mkv", duration=1.5)) == {
        "live": {"sources": [{"origin": CAMERA}], "duration": "1.5s"},
        "stream": {"format": "MKV"},
    }
    assert "duration" not in build(wish())["live"]
    assert build(wish(duration=600.0))["live"]["duration"] == "600s"


def test_pictures() -> None:
    assert build(wish(format="jpg", start=START)) == {
        "archive": {"sources": [{"origin": CAMERA}], "startTimestamp": "2026-05-11T10:04:11+02:00"},
        "snapshot": {"format": "JPEG"},
    }
    assert build(wish(format="image"))["snapshot"] == {"format": "DEFAULT"}


def test_two_of_three_make_an_interval() -> None:
    end = START + timedelta(seconds=30)
    expected = (START, end)
    assert wish(start=START, end=end).interval() == expected
    assert wish(start=START, duration=30).interval() == expected
    assert wish(end=end, duration=30).interval() == expected


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"start": START}, "needs an interval"),
        ({"end": START}, "needs an interval"),
        ({"start": START, "end": START}, "is not after the start"),
        ({"start": START, "duration": 0.0}, "is not after the start"),
        ({"start": START, "end": START + timedelta(1), "duration": 5.0}, "give two of"),
        ({"archive": "x"}, "--archive needs --from"),
        ({"duration": 0.0}, "must be more than 0"),
        ({"format": "jpg", "duration": 5.0}, "no duration"),
        ({"format": "jpg", "start": START, "duration": 5.0}, "of one moment"),
        ({"format": "pdf", "end": START}, "of one moment"),
        ({"format": "jpg", "quality": "best"}, "--quality is for videos"),
        ({"format": "pdf", "split": 5}, "--split is for videos"),
        ({"split": 0}, "must be more than 0"),
        ({"cameras": ("",)}, "invalid name or access point"),
        ({"cameras": ("a\nb",)}, "invalid name or access point"),
        ({"agent": "\udcff"}, "invalid name or access point"),
        ({"comment": "\udcff"}, "not valid UTF-8"),
    ],
)
def test_what_does_not_go_together(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        build(wish(**more))
    assert words in str(caught.value)


@pytest.mark.parametrize("kind", [*STREAMS, *SNAPSHOTS])
@pytest.mark.parametrize("live", [True, False])
def test_the_generated_messages_take_it(kind: str, live: bool) -> None:
    export_pb2 = pytest.importorskip("exportfs.wire.axxonsoft.bl.mmexport.Export_pb2")
    from google.protobuf import json_format

    stream = kind in STREAMS
    when: dict[str, Any] = {} if live else {"start": START, "duration": 60 if stream else None}
    more: dict[str, Any] = {"split": 1 << 33} if stream else {}
    for quality in QUALITIES if stream else [None]:
        request = build(
            wish(
                format=kind, quality=quality, comment="c", mask=True, agent="a", discrete=True, **when, **more
            )
        )
        options = json_format.Parse(json.dumps(request), export_pb2.Options())
        assert json_format.MessageToDict(options)["settings"] == request["settings"]
        assert options.WhichOneof("mode") == ("live" if live else "archive")
        assert options.WhichOneof("output_type") == ("stream" if stream else "snapshot")


def test_default_name() -> None:
    assert default_name(wish(start=START, duration=5), "k3") == "Server.DeviceIpint.1_20260511T080411Z_k3"
    assert default_name(wish(), "k3") == "Server.DeviceIpint.1_live_k3"
    assert default_name(wish(cameras=("hosts/.a b:*/x",)), "k3") == "a_b___live_k3"
    assert default_name(wish(cameras=("...",)), "k3") == "camera_live_k3"
    long = default_name(wish(cameras=("hosts/" + "ü" * 300 + "/x",)), "k3")
    assert check_name(long) == long


def test_names() -> None:
    assert check_name("gate") == "gate"
    assert check_name("gate.json") == "gate"
    for name in ("", ".json", ".gate", "a/b", "a\nb", "x" * 250):
        with pytest.raises(InvalidArgument, match="--name"):
            check_name(name)


def test_utc_start_in_the_name() -> None:
    assert "_20260511T080411Z_" in default_name(wish(start=START.astimezone(UTC), duration=1), "x")
