"""Every rule for a request: what breaks it, and what is said of that."""

from typing import Any

import pytest

from tests.unit.requests.request_helpers import CAMERA, LIVE, PICTURE, VIDEO, changed, only


@pytest.mark.parametrize(
    ("request_", "path", "words"),
    [
        ({"stream": {}}, "", 'give "archive" or "live"'),
        (changed(VIDEO, ("stream", ...)), "", 'give "stream" (video) or "snapshot" (pictures)'),
        (
            changed(VIDEO, ("live", {"sources": [{"origin": CAMERA}]})),
            "live",
            "archive and live exclude each other",
        ),
        (changed(VIDEO, ("snapshot", {})), "snapshot", "stream and snapshot exclude each other"),
        (changed(VIDEO, ("archive.sources", [])), "archive.sources", "at least one camera"),
        (changed(VIDEO, ("archive.sources", ...)), "archive.sources", "at least one camera"),
        (changed(VIDEO, ("archive.sources", None)), "archive.sources", "at least one camera"),
        (changed(LIVE, ("live.sources", ...)), "live.sources", "at least one camera"),
        (
            changed(VIDEO, ("archive.sources.0", {})),
            "archive.sources[0].origin",
            "or the access point of the camera's video, such as",
        ),
        (changed(VIDEO, ("archive.sources.0.origin", "")), "archive.sources[0].origin", "is empty"),
        (changed(VIDEO, ("archive.sources.0.origin", "  ")), "archive.sources[0].origin", "is empty"),
        (changed(LIVE, ("live.sources.0.origin", "")), "live.sources[0].origin", "is empty"),
        (changed(VIDEO, ("archive.sources.0.origin", "hosts/a\n")), "archive.sources[0].origin", r"(\u000a)"),
        (
            changed(VIDEO, ("archive.sources.1", {"origin": "a\x85"})),
            "archive.sources[1].origin",
            r"(\u0085)",
        ),
        (
            changed(VIDEO, ("archive.sources.0.storages", [CAMERA, ""])),
            "archive.sources[0].storages[1]",
            "is empty",
        ),
        (
            changed(VIDEO, ("archive.sources.0.storages", ["\x00"])),
            "archive.sources[0].storages[0]",
            r"(\u0000)",
        ),
        (changed(VIDEO, ("exportAgentAccessPoint", "a\tb")), "exportAgentAccessPoint", r"(\u0009)"),
        (
            changed(VIDEO, ("archive.sources.0.settings", [{"mask_detector": "\x7f"}])),
            "archive.sources[0].settings[0].mask_detector",
            r"(\u007f)",
        ),
        (
            changed(VIDEO, ("archive.startTimestamp", ...)),
            "archive.startTimestamp",
            "where in the archive it starts",
        ),
        (
            changed(VIDEO, ("archive.startTimestamp", "")),
            "archive.startTimestamp",
            "where in the archive it starts",
        ),
        (
            changed(VIDEO, ("archive.endTimestamp", ...)),
            "archive.endTimestamp",
            "only a snapshot needs no end",
        ),
        (changed(PICTURE, ("archive.startTimestamp", ...)), "archive.startTimestamp", "where in the archive"),
        (
            changed(VIDEO, ("archive.endTimestamp", "20260511T080000.000")),
            "archive.endTimestamp",
            "nothing to export",
        ),
        (
            changed(VIDEO, ("archive.endTimestamp", "20260511T075959.999")),
            "archive.endTimestamp",
            "before the start",
        ),
        (
            changed(PICTURE, ("archive.endTimestamp", "20260511T075959")),
            "archive.endTimestamp",
            "before the start",
        ),
        (changed(LIVE, ("live.duration", "0s")), "live.duration", "nothing lasts 0 seconds"),
        (changed(LIVE, ("live.duration", "0.000s")), "live.duration", "nothing lasts 0 seconds"),
        (changed(LIVE, ("live.duration", "-0.5s")), "live.duration", "cannot be negative"),
        (changed(LIVE, ("live.duration", 10)), "live.duration", 'write "10s"'),
        (changed(LIVE, ("live.duration", "10")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "1m")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "1.0123456789s")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "315576000000.1s")), "live.duration", "longer than"),
        (changed(VIDEO, ("settings", [{}])), "settings[0]", "holds no setting"),
        (changed(VIDEO, ("settings", [{"xyz": 1}])), "settings[0].xyz", "no such field"),
        (changed(VIDEO, ("settings", [{"commnt": 1}])), "settings[0].commnt", "did you mean comment?"),
        (changed(VIDEO, ("settings", [{"comment": None}])), "settings[0]", "holds no setting"),
        (
            changed(VIDEO, ("settings", [{"comment": "a", "timezone": 1}])),
            "settings[0].timezone",
            "an entry of its own",
        ),
        (changed(VIDEO, ("stream.settings", [{}])), "stream.settings[0]", "holds no setting"),
        (changed(PICTURE, ("snapshot.settings", [{}])), "snapshot.settings[0]", "holds no setting"),
        (
            changed(VIDEO, ("archive.sources.0.settings", [{}])),
            "archive.sources[0].settings[0]",
            "holds no setting",
        ),
        (
            changed(VIDEO, ("stream.settings", [{"timeLapse": {"fps": -0.5}}])),
            "stream.settings[0].timeLapse.fps",
            "cannot be negative",
        ),
        (
            changed(VIDEO, ("settings", [{"textColor": {"red": 255}}])),
            "settings[0].textColor.red",
            "must be a share from 0 to 1 (of 255), not 255",
        ),
        (
            changed(VIDEO, ("archive.sources.0.settings", [{"cropArea": {"left": 0, "right": 640}}])),
            "archive.sources[0].settings[0].cropArea.right",
            "must be a share from 0 to 1 (of the picture's width or height), not 640",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"plateInfo": {"area": {"top": -0.1}}}])),
            "snapshot.settings[0].plateInfo.area.top",
            "must be a share from 0 to 1",
        ),
        (
            changed(VIDEO, ("stream.settings", [{"timeLapse": {"speed": -1}}])),
            "stream.settings[0].timeLapse.speed",
            "cannot be negative",
        ),
        (
            changed(
                VIDEO,
                ("archive.timelineMask", [{"beginTime": "20260511T080001", "endTime": "20260511T080000"}]),
            ),
            "archive.timelineMask[0].endTime",
            "before the beginning",
        ),
        (changed(VIDEO, ("archive.sorces", [])), "archive.sorces", "did you mean sources?"),
        (changed(VIDEO, ("start_timestmp", "x")), "start_timestmp", "known here are live, archive, "),
        (changed(VIDEO, ('we"ird', 1)), '["we\\"ird"]', "no such field"),
        (
            changed(VIDEO, ("stream.format", "MPEG")),
            "stream.format",
            "allowed are DEFAULT (0), MKV (1), AVI (2)",
        ),
        (changed(VIDEO, ("stream.format", "Mp4")), "stream.format", "did you mean MP4?"),
        (changed(VIDEO, ("stream.format", "\ud800")), "stream.format", 'has no value "\\ud800"'),
        (changed(VIDEO, ("stream.format", 5)), "stream.format", "has no value 5; allowed are"),
        (changed(VIDEO, ("stream.format", -1)), "stream.format", "has no value -1"),
        (changed(VIDEO, ("stream.format", True)), "stream.format", "must be one of DEFAULT (0)"),
        (changed(VIDEO, ("stream.format", 1.5)), "stream.format", "has no value 1.5"),
        (changed(VIDEO, ("maxFileSize", -1)), "maxFileSize", "from 0 to 18446744073709551615, not -1"),
        (changed(VIDEO, ("maxFileSize", 2**64)), "maxFileSize", "from 0 to"),
        (changed(VIDEO, ("maxFileSize", "1.5")), "maxFileSize", "whole number"),
        (changed(VIDEO, ("maxFileSize", "500 MB")), "maxFileSize", 'not the string "500 MB"'),
        (changed(VIDEO, ("maxFileSize", True)), "maxFileSize", "whole number, not true"),
        (changed(VIDEO, ("settings", [{"timezone": 2**31}])), "settings[0].timezone", "from -2147483648 to"),
        (changed(VIDEO, ("cloudExport", "true")), "cloudExport", "without quotes"),
        (changed(VIDEO, ("cloudExport", 1)), "cloudExport", "true or false"),
        (changed(VIDEO, ("externalDirectory", 1)), "externalDirectory", "must be a string, not the number 1"),
        (changed(VIDEO, ("externalDirectory", "\ud800")), "externalDirectory", "surrogate"),
        (changed(VIDEO, ("archive", [])), "archive", "must be an object {…}, not a list"),
        (changed(VIDEO, ("archive.sources", {})), "archive.sources", "must be a list […], not an object"),
        (changed(VIDEO, ("archive.sources", [CAMERA])), "archive.sources[0]", "must be an object"),
        (changed(VIDEO, ("archive.sources", [None])), "archive.sources[0]", "cannot be null"),
        (
            changed(VIDEO, ("archive.sources.0.tracks", ["a", 1])),
            "archive.sources[0].tracks[1]",
            "must be a string",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", [])),
            "archive.sources[0].maskFilter",
            "must be an object",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"a": None})),
            "archive.sources[0].maskFilter.a",
            "cannot be null",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"hosts/a": {"tracks": [-1]}})),
            'archive.sources[0].maskFilter["hosts/a"].tracks[0]',
            "from 0 to 4294967295",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"\udfff": {}})),
            'archive.sources[0].maskFilter["\\udfff"]',
            "",
        ),
        (
            changed(VIDEO, ("settings", [{"textColor": {"red": "NaN"}}])),
            "settings[0].textColor.red",
            "must be a number",
        ),
        (changed(VIDEO, ("settings", [{"font": {"size": 1e39}}])), "settings[0].font.size", "32-bit float"),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "a*b="}}])),
            "snapshot.settings[0].snapshot.image",
            "not base64",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "abcde"}}])),
            "snapshot.settings[0].snapshot.image",
            "a part is missing",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "YQ="}}])),
            "snapshot.settings[0].snapshot.image",
            "padding",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"timestamp": "noon"}}])),
            "snapshot.settings[0].snapshot.timestamp",
            "must be a timestamp such as",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_problem(request_: Any, path: str, words: str) -> None:
    found, said = only(request_)
    assert found == path
    assert words in said
