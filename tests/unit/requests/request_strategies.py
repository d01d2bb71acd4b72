"""Options for hypothesis: such as a request may hold, and such as only a hostile server sends."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from exportfs.timestamps import to_server
from exportfs.wire import export

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}

texts = st.text(max_size=12)
access_points = st.from_regex(
    r"hosts/[A-Za-z0-9]{1,6}/[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,8}", fullmatch=True
)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)).map(
    lambda naive: naive.replace(tzinfo=UTC)
)

OPTIONS = export.DESCRIPTOR.message_types_by_name["Options"]


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def reachable(descriptor: Descriptor) -> dict[str, Descriptor]:
    """All messages of the vendor's that a message holds, by full name."""
    found: dict[str, Descriptor] = {}
    todo = [descriptor]
    while todo:
        message = todo.pop()
        if message.full_name in found or message.full_name.startswith("google."):
            continue
        if not message.GetOptions().map_entry:
            found[message.full_name] = message
        todo += [field.message_type for field in message.fields if field.message_type is not None]
    return found


def _scalars(field: FieldDescriptor, *, hostile: bool) -> st.SearchStrategy[Any]:
    if field.cpp_type in _INTEGERS:
        return st.integers(*_INTEGERS[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        assert field.enum_type is not None
        numbers = list(field.enum_type.values_by_number)
        return st.integers(-(2**31), 2**31 - 1) if hostile else st.sampled_from(numbers)
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return st.booleans()
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return st.floats(width=32, allow_nan=hostile, allow_infinity=hostile)
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return st.floats(allow_nan=hostile, allow_infinity=hostile)
    return st.binary(max_size=12) if field.type == FieldDescriptor.TYPE_BYTES else texts


def _fill(draw: st.DrawFn, message: Any, *, hostile: bool) -> None:
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Duration":
        if hostile:
            message.seconds, message.nanos = (
                draw(st.integers(-(2**63), 2**63 - 1)),
                draw(st.integers(-(2**31), 2**31 - 1)),
            )
        else:
            message.seconds, message.nanos = (
                draw(st.integers(0, 315_576_000_000)),
                draw(st.integers(1, 999_999_999)),
            )
            if message.seconds == 315_576_000_000:
                message.nanos = 0
        return
    for oneof in descriptor.oneofs:
        if hostile and draw(st.booleans()):
            continue
        _fill_field(draw, message, draw(st.sampled_from(list(oneof.fields))), hostile=hostile)
    for field in descriptor.fields:
        if field.containing_oneof is None and draw(st.booleans()):
            _fill_field(draw, message, field, hostile=hostile)
    if not hostile:
        _mend(draw, message)


def _fill_field(draw: st.DrawFn, message: Any, field: FieldDescriptor, *, hostile: bool) -> None:
    part = getattr(message, field.name)
    if is_map(field):
        for key in draw(st.lists(texts, max_size=2, unique=True)):
            part[key].SetInParent()
            _fill(draw, part[key], hostile=hostile)
    elif field.is_repeated and field.message_type is not None:
        for _ in range(draw(st.integers(0, 2))):
            _fill(draw, part.add(), hostile=hostile)
    elif field.is_repeated:
        part.extend(draw(st.lists(_scalars(field, hostile=hostile), max_size=3)))
    elif field.message_type is not None:
        part.SetInParent()
        _fill(draw, part, hostile=hostile)
    else:
        setattr(message, field.name, draw(_scalars(field, hostile=hostile)))


def _mend(draw: st.DrawFn, message: Any) -> None:
    """Makes of arbitrary values what passes the checks."""
    name = message.DESCRIPTOR.name
    full = message.DESCRIPTOR.full_name
    if name in ("LiveMode", "ArchiveMode") and not message.sources:
        _fill(draw, message.sources.add(), hostile=False)
    if name == "Source":
        message.origin = draw(access_points)
        if full.endswith("ArchiveMode.Source"):
            storages = draw(st.lists(access_points, max_size=2))
            del message.storages[:]
            message.storages.extend(storages)
    if name == "SourceSetting" and message.WhichOneof("setting") == "mask_detector":
        message.mask_detector = draw(access_points)
    if name == "TimeLapse":
        message.fps, message.speed = abs(message.fps), abs(message.speed)
    if name in ("ViewArea", "ColorInfo"):
        for field in message.DESCRIPTOR.fields:
            setattr(message, field.name, draw(st.sampled_from([0.0, 0.25, 0.5, 1.0])))
    if name == "ExternalFrame":
        message.timestamp = draw(st.just("") | instants.map(to_server))
    if name in ("TimeRange", "ArchiveMode"):
        start = draw(instants)
        end = start + draw(st.timedeltas(timedelta(microseconds=1), timedelta(days=30)))
        if name == "TimeRange":
            message.begin_time, message.end_time = to_server(start), to_server(end)
        else:
            message.start_timestamp, message.end_timestamp = to_server(start), to_server(end)
    if name == "Options":
        message.export_agent_access_point = draw(st.just("") | access_points)


@st.composite
def valid_options(draw: st.DrawFn) -> Any:
    """A message that is what a request may say."""
    options = export.Options()
    _fill(draw, options, hostile=False)
    return options


@st.composite
def hostile_options(draw: st.DrawFn) -> bytes:
    """Serialized Options with any values that the wire can carry, unknown fields among them."""
    options = export.Options()
    _fill(draw, options, hostile=True)
    serialized = options.SerializeToString()
    if draw(st.booleans()):
        # Field 77, varint; field 78, bytes: neither is in the contract.
        serialized += b"\xe8\x04\x01\xf2\x04\x02ab"
    return bytes(serialized)
