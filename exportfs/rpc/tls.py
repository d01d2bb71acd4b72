"""TLS of exact downloads: Python's `ssl`, as strict as gRPC's."""

import ssl

from exportfs.config import ServerConfig
from exportfs.rpc import authorities


def context(config: ServerConfig) -> ssl.SSLContext:
    """Checks certificate and name as gRPC does: against the CA file alone where there is one, and the certificate's
    common name where it has no alternative names. Where the two judge otherwise nevertheless, downloads fall back to
    gRPC, whose connection for calls had the first word.

    Raises InvalidArgument and ssl.SSLError where the authorities cannot be used.
    """
    pem = authorities.load(config.ca_file).pem
    made = ssl.create_default_context(cadata=None if pem is None else pem.decode("ascii", "replace"))
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.hostname_checks_common_name = True
    made.set_alpn_protocols(["h2"])
    return made
