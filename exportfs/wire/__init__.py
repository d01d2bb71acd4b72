"""The vendor's messages, generated from protos/ when the package is built (see hatch_build.py).

`auth`, `export` and `service` hold the messages, `auth_grpc` and `service_grpc` the stubs.
"""

from exportfs.wire.axxonsoft.bl.auth import Authentication_pb2 as auth
from exportfs.wire.axxonsoft.bl.auth import Authentication_pb2_grpc as auth_grpc
from exportfs.wire.axxonsoft.bl.mmexport import Export_pb2 as export
from exportfs.wire.axxonsoft.bl.mmexport import ExportService_pb2 as service
from exportfs.wire.axxonsoft.bl.mmexport import ExportService_pb2_grpc as service_grpc
from exportfs.wire.axxonsoft.bl.primitive import Primitives_pb2 as primitive

__all__ = ["auth", "auth_grpc", "export", "primitive", "service", "service_grpc"]
