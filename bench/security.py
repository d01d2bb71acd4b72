"""TLS between our mount and the server, with certificates of this run, or nothing of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from exportfs.simulator.certificates import Certificates, make_certificates


@dataclass(frozen=True)
class Security:
    """certificates: none for a connection in the clear."""

    certificates: Certificates | None = None

    def __str__(self) -> str:
        return "TLS" if self.certificates else "no TLS"

    def server(self) -> list[str]:
        """Words for our servers, in Python and in C++."""
        if self.certificates is None:
            return []
        return ["--tls", str(self.certificates.certificate_file), str(self.certificates.key_file)]

    def mount(self) -> list[str]:
        """Options of our mount."""
        if self.certificates is None:
            return ["--insecure"]
        return ["--ca-file", str(self.certificates.ca_file), "--tls-server-name", self.certificates.name]

    def bare(self) -> list[str]:
        """What `channel` takes, in JSON or on a command line."""
        return [str(self.certificates.ca_file), self.certificates.name] if self.certificates else []


def security(folder: Path, tls: bool) -> Security:
    """`folder` must exist, and takes the certificates."""
    return Security(make_certificates(folder) if tls else None)


def channel(target: str, bare: list[str], options: Sequence[tuple[str, Any]]) -> grpc.Channel:
    """A connection of gRPC's own, as `Security.bare` says."""
    if not bare:
        return grpc.insecure_channel(target, options)
    ca_file, name = bare
    trusted = grpc.ssl_channel_credentials(Path(ca_file).read_bytes())
    return grpc.secure_channel(target, trusted, [*options, ("grpc.ssl_target_name_override", name)])
