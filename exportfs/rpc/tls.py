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
    # Not `create_default_context`: it writes keys to SSLKEYLOGFILE, and fails where that cannot be written.
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if pem is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(cadata=pem.decode("ascii", "replace"))
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.hostname_checks_common_name = True
    made.set_alpn_protocols(["h2"])
    return made
