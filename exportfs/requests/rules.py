"""What a request must be beyond its types: one function for each message that has rules.

Only what the contract makes certain is refused; a server may know more than we do.
"""

import unicodedata
from collections.abc import Callable
from typing import Any

from exportfs.requests.collect import Collector, View
from exportfs.timestamps import parse_server

_CAMERA = '"hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"'

Rule = Callable[[Any, View, Collector], None]


def _options(options: Any, view: View, found: Collector) -> None:
    tried = view.bad | view.keys.keys()
    if not tried & {"archive", "live"}:
        found.add(view.where, 'say where the footage comes from: give "archive" or "live"')
    if not tried & {"stream", "snapshot"}:
        found.add(view.where, 'say what to make of it: give "stream" (video) or "snapshot" (pictures)')
    _access_point(options.export_agent_access_point, view, "export_agent_access_point", found)
    output = options.WhichOneof("output_type")
    if "archive" in view.children:
        _interval(options.archive, view.children["archive"], output, found)
    if "live" in view.children and output == "stream":
        _duration(options.live, view.children["live"], found)


def _interval(archive: Any, view: View, output: str | None, found: Collector) -> None:
    if "start_timestamp" not in view.bad and not archive.start_timestamp:
        found.add(view.where, "say where in the archive it starts", missing="startTimestamp")
    if output == "stream" and "end_timestamp" not in view.bad and not archive.end_timestamp:
        found.add(
            view.where,
            "say where in the archive it ends; only a snapshot needs no end",
            missing="endTimestamp",
        )
    if view.bad & {"start_timestamp", "end_timestamp"}:
        return
    start, end = parse_server(archive.start_timestamp), parse_server(archive.end_timestamp)
    if start is None or end is None:
        return
    if end < start:
        found.add(view.place("end_timestamp"), "the end is before the start")
    elif end == start and output == "stream":
        found.add(view.place("end_timestamp"), "the end is the start, so there is nothing to export")


def _duration(live: Any, view: View, found: Collector) -> None:
    if "duration" in view.bad or not live.HasField("duration"):
        return
    if live.duration.seconds < 0 or live.duration.nanos < 0:
        found.add(view.place("duration"), "a duration cannot be negative")
    elif live.duration.seconds == 0 and live.duration.nanos == 0:
        found.add(
            view.place("duration"),
            "nothing lasts 0 seconds; leave it out for an export that runs until it is stopped",
        )


def _mode(mode: Any, view: View, found: Collector) -> None:
    if "sources" not in view.bad and not mode.sources:
        found.add(view.where, "name at least one camera", missing="sources")


def _source(source: Any, view: View, found: Collector) -> None:
    if "origin" not in view.bad and not source.origin.strip():
        example = (
            f"give its label, as in cameras/, or the access point of the camera's video, such as {_CAMERA}"
        )
        if "origin" in view.keys:
            found.add(view.place("origin"), f"is empty; {example}")
        else:
            found.add(view.where, example, missing="origin")
    else:
        _access_point(source.origin, view, "origin", found)


def _archive_source(source: Any, view: View, found: Collector) -> None:
    _source(source, view, found)
    if "storages" in view.bad:
        return
    for index, storage in enumerate(source.storages):
        where = (*view.place("storages"), index)
        if not storage.strip():
            found.add(where, "is empty; give the access point of an archive, or leave the storages out")
        elif wrong := _control(storage):
            found.add(where, wrong)


def _setting(setting: Any, view: View, found: Collector) -> None:
    if not view.keys and not view.bad:
        found.add(view.where, "holds no setting: each entry of the list sets one thing")


def _source_setting(setting: Any, view: View, found: Collector) -> None:
    _setting(setting, view, found)
    _access_point(setting.mask_detector, view, "mask_detector", found)


def _time_range(span: Any, view: View, found: Collector) -> None:
    begin, end = parse_server(span.begin_time), parse_server(span.end_time)
    if begin is not None and end is not None and end < begin:
        found.add(view.place("end_time"), "the end is before the beginning")


def _time_lapse(lapse: Any, view: View, found: Collector) -> None:
    for name in ("fps", "speed"):
        # 0 is the original rate and speed.
        if name in view.keys and name not in view.bad and getattr(lapse, name) < 0:
            found.add(view.place(name), "cannot be negative; 0 is the original's")


def _shares(message: Any, view: View, found: Collector) -> None:
    for name in view.keys:
        if name not in view.bad and not 0 <= getattr(message, name) <= 1:
            hint = (
                "of the picture's width or height" if name in ("left", "top", "right", "bottom") else "of 255"
            )
            found.add(
                view.place(name), f"must be a share from 0 to 1 ({hint}), not {getattr(message, name):g}"
            )


def _access_point(text: str, view: View, name: str, found: Collector) -> bool:
    wrong = _control(text)
    if wrong and name in view.keys and name not in view.bad:
        found.add(view.place(name), wrong)
    return not wrong and bool(text)


def _control(text: str) -> str | None:
    for char in text:
        if unicodedata.category(char) == "Cc":
            return f"no access point holds a control character (\\u{ord(char):04x})"
    return None


_PACKAGE = "axxonsoft.bl.mmexport."

RULES: dict[str, Rule] = {
    _PACKAGE + "Options": _options,
    _PACKAGE + "ArchiveMode": _mode,
    _PACKAGE + "LiveMode": _mode,
    _PACKAGE + "ArchiveMode.Source": _archive_source,
    _PACKAGE + "LiveMode.Source": _source,
    _PACKAGE + "CommonSetting": _setting,
    _PACKAGE + "SourceSetting": _source_setting,
    _PACKAGE + "SnapshotSetting": _setting,
    _PACKAGE + "StreamSetting": _setting,
    _PACKAGE + "TimeLapse": _time_lapse,
    _PACKAGE + "ViewArea": _shares,
    _PACKAGE + "ColorInfo": _shares,
    "axxonsoft.bl.primitive.TimeRange": _time_range,
}
"""By the full name of the message; called once its fields are filled."""
