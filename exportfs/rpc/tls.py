"""TLS of exact downloads: Python's `ssl`, as strict as gRPC's."""

import functools
import ssl


@functools.lru_cache(2)  # all roots of a system take 50 ms, in which nothing else is done
def context(roots: bytes | None) -> ssl.SSLContext:
    """Checks certificate and name as gRPC does: against these authorities alone (PEM; None: the system's), and the
    certificate's common name where it has no alternative names. Where the two judge otherwise nevertheless, downloads
    fall back to gRPC, whose connection for calls had the first word.

    Raises ssl.SSLError where the authorities cannot be used.
    """
    # Not `create_default_context`: it writes keys to SSLKEYLOGFILE, and fails where that cannot be written.
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots is None:
        made.load_default_certs()
    else:
        made.load_verify_locations(cadata=roots.decode("ascii", "replace"))
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    made.hostname_checks_common_name = True
    made.set_alpn_protocols(["h2"])
    return made
