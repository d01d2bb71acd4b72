"""What people paste around a request: the call that the vendor documents, its argument, a session's record."""

from typing import Any

from exportfs.requests.collect import Collector, is_string, kind, quoted
from exportfs.requests.json_text import Object
from exportfs.requests.positions import Path
from exportfs.wire import export

METHOD = "axxonsoft.bl.mmexport.ExportService.StartSession"
ARGUMENT = ("session_options", "sessionOptions")
RECORD = ("options",)
CALL = ("method", "data")
_OF_A_RECORD = frozenset({"id", "state"})
"""What tells the record of a session, where other fields beside the options are to be expected."""
_OWN = {
    name
    for field in export.Options.DESCRIPTOR.fields
    for name in (field.name, field.json_name)  # none of which is a wrapper's
}


def unwrap(value: Any, found: Collector) -> tuple[Any, Path]:
    """The Options within `value`, and where they stand. What is wrong with the wrapping is noted.

    Whatever is not a wrapping is given back as it is, with the empty path.
    """
    where: Path = ()
    if isinstance(value, Object) and not value.keys().isdisjoint(CALL):
        value, where = _of_call(value, found), ("data",)
        if isinstance(value, Object) and value.keys().isdisjoint(ARGUMENT):
            found.add(where, f"must hold {ARGUMENT[0]}, the argument of StartSession")
            return Object([]), where
    if not isinstance(value, Object):
        return value, where
    names = [name for name in value if name in ARGUMENT + (() if where else RECORD)]
    if not names:
        return value, where
    _nothing_beside(value, names, where, found)
    return value[names[0]], (*where, names[0])


def _of_call(call: Object, found: Collector) -> Any:
    """The argument of a call."""
    for key in call:
        if key not in CALL:
            found.add((key,), f"does not belong beside {' and '.join(CALL)}", key=True)
    for key in call.duplicates:
        found.add((key,), "stands here more than once", key=True, repeated=True)
    method = call.get("method", METHOD)
    if not is_string(method):
        found.add(("method",), f"must be the name of a method, not {kind(method)}")
    elif method != METHOD:
        found.add(("method",), f"{quoted(method)} is another method; here only {METHOD} is called")
    if "data" not in call:
        found.add((), "there is a method, but no data for it", missing="data")
        return Object([(ARGUMENT[0], Object([]))])
    return call["data"]


def _nothing_beside(value: Object, names: list[str], where: Path, found: Collector) -> None:
    """Names what stands beside the options and would be lost."""
    for key in value.duplicates:
        if key in names:
            found.add((*where, key), "stands here more than once", key=True, repeated=True)
    for key in names[1:]:
        found.add((*where, key), f"says the same as {names[0]}: give it once", key=True)
    record = names[0] in RECORD and value.keys() >= _OF_A_RECORD
    for key in value:
        if key in names or (record and key not in _OWN):
            continue
        what = f"belongs in {names[0]}" if key in _OWN else f"there is no such field beside {names[0]}"
        found.add((*where, key), what, key=True)
