"""The compiled messages against the vendor's contract: names, numbers, types, labels, oneofs, streaming."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor

from exportfs import wire

CONTRACT: dict[str, Any] = json.loads((Path(__file__).parent / "contract.json").read_text())
FILES: list[FileDescriptor] = [
    module.DESCRIPTOR
    for module in (
        wire.service,
        wire.export,
        wire.primitive,
        wire.auth,
        wire.domain,
        wire.archive,
        wire.security,
    )
]
SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
}


def messages(scope: Any) -> Iterator[Descriptor]:
    nested = scope.message_types_by_name if isinstance(scope, FileDescriptor) else scope.nested_types_by_name
    for message in nested.values():
        if not message.GetOptions().map_entry:
            yield message
            yield from messages(message)


def enums(scope: Any) -> Iterator[EnumDescriptor]:
    yield from scope.enum_types_by_name.values()
    nested = scope.message_types_by_name if isinstance(scope, FileDescriptor) else scope.nested_types_by_name
    for message in nested.values():
        yield from enums(message)


def type_of(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map<{type_of(key)}, {type_of(value)}>"
    name = SCALARS.get(field.type)
    if name is None:
        kind = field.message_type or field.enum_type
        assert kind is not None
        name = kind.full_name
    return f"repeated {name}" if field.is_repeated else name


def line(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    return f"{field.number} {field.name} : {type_of(field)}" + (f" in {oneof.name}" if oneof else "")


def test_messages() -> None:
    compiled = {m.full_name: [line(f) for f in m.fields] for file in FILES for m in messages(file)}
    contract = CONTRACT["messages"]
    assert set(compiled) == set(contract)
    for name, fields in contract.items():
        assert sorted(compiled[name]) == sorted(fields), name


def test_enums() -> None:
    compiled = {e.full_name: {v.name: v.number for v in e.values} for file in FILES for e in enums(file)}
    assert compiled == CONTRACT["enums"]


def test_services() -> None:
    def shown(message: Descriptor, streaming: bool) -> str:
        return ("stream " if streaming else "") + message.full_name

    compiled = {
        service.full_name: {
            method.name: {
                "request": shown(method.input_type, method.client_streaming),
                "response": shown(method.output_type, method.server_streaming),
            }
            for method in service.methods
        }
        for file in FILES
        for service in file.services_by_name.values()
    }
    assert compiled == CONTRACT["services"]


def test_files_are_named_as_the_vendor_names_them() -> None:
    assert [file.name for file in FILES] == [
        "axxonsoft/bl/mmexport/ExportService.proto",
        "axxonsoft/bl/mmexport/Export.proto",
        "axxonsoft/bl/primitive/Primitives.proto",
        "axxonsoft/bl/auth/Authentication.proto",
        "axxonsoft/bl/domain/Domain.proto",
        "axxonsoft/bl/archive/ArchiveSupport.proto",
        "axxonsoft/bl/security/ObjectsPermissions.proto",
    ]
