"""Fills a message from JSON along its descriptors, and notes everything that is wrong on the way."""

import functools
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from exportfs.did_you_mean import nearest
from exportfs.requests import instants, scalars
from exportfs.requests.collect import Collector, View, kind, quoted
from exportfs.requests.json_text import Object
from exportfs.requests.positions import Path
from exportfs.requests.rules import RULES
from exportfs.requests.scalars import WrongError
from exportfs.timestamps import microseconds_cut

DURATION = "google.protobuf.Duration"


@functools.cache
def known_fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """The fields of a message under both of their names."""
    fields = {field.name: field for field in descriptor.fields}
    return {field.json_name: field for field in descriptor.fields} | fields


def is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def fill(message: Any, value: Any, where: Path, found: Collector) -> View | None:
    """Fills `message` from the JSON `value` that stands at `where`; None where that is not an object.

    The message is of use only if nothing was found. Depth is bounded by the message's, not by the value's.
    """
    if not isinstance(value, Object):
        found.add(where, f"must be an object {{…}}, not {kind(value)}")
        return None
    descriptor = message.DESCRIPTOR
    view = View(where)
    for key in value.duplicates:
        found.add((*where, key), "stands here more than once", key=True, repeated=True)
    known = known_fields(descriptor)
    spelt: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for key, item in value.items():
        field = known.get(key)
        if field is None:
            found.add((*where, key), _unknown(key, descriptor, view), key=True)
            continue
        if spelt.setdefault(field.name, key) != key:
            found.add((*where, key), f"is the same field as {spelt[field.name]}: give it once", key=True)
            view.bad.add(field.name)
            continue
        if item is None:
            continue  # The mapping's way to say: not set.
        view.keys[field.name] = key
        oneof = field.containing_oneof
        if oneof is not None and chosen.setdefault(oneof.name, key) != key:
            found.add((*where, key), _both(chosen[oneof.name], key, oneof.name), key=True)
            view.bad.add(field.name)
            continue
        before = len(found)
        _fill_field(message, field, item, view, found)
        if len(found) > before:
            view.bad.add(field.name)
    rule = RULES.get(descriptor.full_name)
    if rule is not None:
        rule(message, view, found)
    return view


def _fill_field(message: Any, field: FieldDescriptor, value: Any, view: View, found: Collector) -> None:
    where = view.place(field.name)
    if is_map(field):
        _fill_map(getattr(message, field.name), field, value, where, found)
    elif field.is_repeated:
        _fill_list(getattr(message, field.name), field, value, where, found)
    elif field.message_type is None:
        scalar = _scalar(field, value, where, found)
        if scalar is not None:
            setattr(message, field.name, scalar)
    else:
        part = getattr(message, field.name)
        part.SetInParent()
        child = _fill_message(part, value, where, found)
        if child is not None:
            view.children[field.name] = child


def _fill_message(message: Any, value: Any, where: Path, found: Collector) -> View | None:
    if message.DESCRIPTOR.full_name != DURATION:
        return fill(message, value, where, found)
    try:
        message.seconds, message.nanos = scalars.read_duration(value)
    except WrongError as error:
        found.add(where, str(error))
    return None


def _fill_list(items: Any, field: FieldDescriptor, value: Any, where: Path, found: Collector) -> None:
    if not isinstance(value, list):
        found.add(where, f"must be a list […], not {kind(value)}")
        return
    for index, item in enumerate(value):
        place = (*where, index)
        if item is None:
            found.add(place, "an entry of a list cannot be null")
        elif field.message_type is not None:
            _fill_message(items.add(), item, place, found)
        else:
            scalar = _scalar(field, item, place, found)
            if scalar is not None:
                items.append(scalar)


def _fill_map(entries: Any, field: FieldDescriptor, value: Any, where: Path, found: Collector) -> None:
    """The contract's maps all have string keys and messages as values."""
    if not isinstance(value, Object):
        found.add(where, f"must be an object {{…}}, not {kind(value)}")
        return
    for key in value.duplicates:
        found.add((*where, key), "stands here more than once", key=True, repeated=True)
    for key, item in value.items():
        place = (*where, key)
        try:
            scalars.read_string(key)
        except WrongError as error:
            found.add(place, f"its name {error}", key=True)
            continue
        if item is None:
            found.add(place, "a value in here cannot be null")
        else:
            entries[key].SetInParent()
            _fill_message(entries[key], item, place, found)


def _scalar(field: FieldDescriptor, value: Any, where: Path, found: Collector) -> Any:
    """The value for the field, or None after a problem was noted."""
    try:
        scalar = scalars.read_scalar(value, field)
        if instants.is_timestamp(field):
            sent = instants.read_timestamp(scalar, found.zone)
            if sent != scalar and microseconds_cut(scalar):
                found.warn(f"The timestamp {quoted(scalar)} was cut to microseconds: {sent} is sent.")
            scalar = sent
    except WrongError as error:
        found.add(where, str(error))
        return None
    return scalar


def _unknown(key: str, descriptor: Descriptor, view: View) -> str:
    names = {field.json_name: field.name for field in descriptor.fields}
    guess = nearest(key, names)
    view.bad.add(names[guess] if guess else key)  # So that it is not missed as well.
    hint = f"did you mean {guess}?" if guess else f"known here are {', '.join(names)}"
    return f"there is no such field; {hint}"


def _both(first: str, second: str, oneof: str) -> str:
    if oneof == "setting":
        return (
            f"one entry of the list holds one setting: put {second} into an entry of its own, beside {first}"
        )
    return f"{first} and {second} exclude each other: give only one of them"
