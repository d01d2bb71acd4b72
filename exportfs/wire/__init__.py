"""The vendor's messages, generated from protos/ when the package is built (see hatch_build.py).

`auth`, `export`, `service`, `domain`, `archive` and `security` hold the messages, those that end in `_grpc` the stubs.
"""

import exportfs.grpc_environment  # noqa: F401 # before gRPC
from exportfs.wire.axxonsoft.bl.archive import ArchiveSupport_pb2 as archive
from exportfs.wire.axxonsoft.bl.archive import ArchiveSupport_pb2_grpc as archive_grpc
from exportfs.wire.axxonsoft.bl.auth import Authentication_pb2 as auth
from exportfs.wire.axxonsoft.bl.auth import Authentication_pb2_grpc as auth_grpc
from exportfs.wire.axxonsoft.bl.domain import Domain_pb2 as domain
from exportfs.wire.axxonsoft.bl.domain import Domain_pb2_grpc as domain_grpc
from exportfs.wire.axxonsoft.bl.mmexport import Export_pb2 as export
from exportfs.wire.axxonsoft.bl.mmexport import ExportService_pb2 as service
from exportfs.wire.axxonsoft.bl.mmexport import ExportService_pb2_grpc as service_grpc
from exportfs.wire.axxonsoft.bl.primitive import Primitives_pb2 as primitive
from exportfs.wire.axxonsoft.bl.security import ObjectsPermissions_pb2 as security

__all__ = [
    "archive",
    "archive_grpc",
    "auth",
    "auth_grpc",
    "domain",
    "domain_grpc",
    "export",
    "primitive",
    "security",
    "service",
    "service_grpc",
]
