"""Why a server cannot be reached, found out step by step.

gRPC has the last word: where a channel of its own connects, all is well, whatever else one could say of the
certificate. Where it does not, it says little, so each step is made by hand with sockets and Python's TLS: the
certificate, the protocol. Where those find nothing either, gRPC's own words are all there is: its TLS refuses keys and
signatures that Python's accepts. At last comes a login.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Any

from exportfs.config import DEFAULT_PORT, ServerConfig
from exportfs.doctor import certificate, probes
from exportfs.doctor.finding import Finding
from exportfs.rpc import authorities
from exportfs.rpc.status import DROPPED_HEADER, NEVER_CONNECTED, OTHER_NAME
from exportfs.rpc.tls import context

CONNECT_WITHIN = 5.0
"""Seconds for each step."""

_REFUSED_KEYS = {b"\x06\x03\x2b\x65\x70": "Ed25519", b"\x06\x05\x2b\x81\x04\x00\x23": "P-521"}
"""Object identifiers in a certificate whose handshake fails in gRPC's TLS (seen, 1.85)."""

_EXPIRED, _NOT_YET = 10, 9
_WRONG_NAME = (62, 64)
_UNTRUSTED = (2, 7, 18, 19, 20, 21, 24, 26)
"""Verification results of OpenSSL (x509_vfy.h): no issuer, a bad signature, self-signed, no such CA."""


def diagnose_server(
    config: ServerConfig, *, log_in: bool = True, within: float = CONNECT_WITHIN
) -> list[Finding]:
    """What was looked at, in order; what follows a failure cannot be looked at. `within`: seconds for each step.

    Never raises.
    """
    found: list[Finding] = []
    for step in (_authorities, _name, _connection, _channel):
        for finding in step(config, within):
            found.append(finding)
            if finding.ok is False:
                return found
    if log_in:
        found += _service(config, within)
    return found


def cause(config: ServerConfig, within: float = CONNECT_WITHIN) -> str | None:
    """In one sentence why the server cannot be reached, and what to do; None where nothing is found."""
    bad = [finding for finding in diagnose_server(config, log_in=False, within=within) if finding.ok is False]
    return f"{bad[0].detail}: {bad[0].fix}" if bad else None


def _authorities(config: ServerConfig, within: float) -> Iterator[Finding]:
    if config.insecure:
        return
    title = "CA file" if config.ca_file else "CAs"
    try:
        found = authorities.load(config.ca_file)
    except authorities.Unusable as error:
        yield Finding(False, title, error.detail, error.fix)
        return
    count = f": {found.count} of an authority" if found.count else ""
    odd = f" ({'; '.join(found.remarks)})" if found.remarks else ""
    yield Finding(True, title, f"{found.source}{count}{odd}")


def _name(config: ServerConfig, within: float) -> Iterator[Finding]:
    title = "server's name"
    try:
        found = socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "no host name"
        yield Finding(
            False,
            title,
            f"the name {config.host} cannot be resolved ({words})",
            "check its spelling, and that this machine's DNS knows it; or give the address",
        )
        return
    yield Finding(True, title, ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found)))


def _connection(config: ServerConfig, within: float) -> Iterator[Finding]:
    title = "connection"
    try:
        probes.connect(config, within).close()
    except ConnectionRefusedError:
        yield Finding(
            False,
            title,
            f"nothing listens at {config.address} (connection refused)",
            f"check that the server runs, and its gRPC port (default {DEFAULT_PORT})",
        )
    except OSError as error:
        words = "no answer" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        yield Finding(
            False,
            title,
            f"{config.address} cannot be reached ({words})",
            "check the address, the network or VPN, and the firewalls in between",
        )
    else:
        yield Finding(True, title, f"{config.address} accepts it")


def _channel(config: ServerConfig, within: float) -> Iterator[Finding]:
    """A channel as the mount makes it; where it does not connect, the reason."""
    said = _said_by_grpc(config, within)
    if said is None:
        if not config.insecure:
            yield Finding(True, "TLS", certificate.described(probes.certificate(config, within)))
        yield Finding(True, "gRPC", "the server speaks HTTP/2, as gRPC does")
        return
    for step in (_encryption, _protocol):
        finding = step(config, within)
        if finding is not None and finding.ok is False:
            yield finding
            return
    yield _unexplained(config, said, within)


def _said_by_grpc(config: ServerConfig, within: float) -> str | None:
    """What gRPC says of a connection that it cannot make; None where it can."""
    import grpc

    from exportfs.rpc.channel import Connections, Lane

    connections = Connections(config)
    connection = connections.acquire(Lane.CALLS)
    try:
        # Harmless, and known to few servers: any answer at all, also that it is unknown, came over a connection.
        check: Any = connection.channel.unary_unary("/grpc.health.v1.Health/Check", None, None)
        check(b"", timeout=within)
    except grpc.RpcError as error:
        details = str(error.details() or "") if isinstance(error, grpc.Call) else ""
        if connection.connecting or details.startswith((NEVER_CONNECTED, OTHER_NAME)):
            return details
    finally:
        connections.release(connection)
        connections.close()
    return None


_SILENCE = ("Deadline Exceeded", "timed out", "Handshake read failed (Endpoint closing)", "no answer")


def _unexplained(config: ServerConfig, said: str, within: float) -> Finding:
    """Python's TLS accepts what gRPC's does not."""
    reason = " ".join(said.split()).rpartition("last error: ")[2][:300] or "no answer"
    if "ALPN" in reason:
        return Finding(
            False,
            "TLS",
            f"{config.address} does not offer HTTP/2 (by ALPN, in TLS's handshake), which gRPC insists on",
            "check the port; in a proxy in between switch HTTP/2 on (nginx: `listen ... ssl http2`)",
        )
    fix = "replace it on the server: gRPC takes keys of RSA (2048 bits) and P-256, signed with SHA-256"
    if config.insecure:
        return Finding(
            False, "gRPC", f"gRPC cannot connect to {config.address} ({reason})", "look at what is in between"
        )
    if any(words in reason for words in _SILENCE):
        # gRPC's first message is longer than a packet of most tunnels, and Python's is not.
        what = f"{config.address} answers short messages, and not gRPC's: long packets seem to get lost on the way"
        return Finding(False, "gRPC", what, "look at the MTU of the VPN or tunnel; try 1280")
    try:
        shown = probes.shown(config, within)
    except OSError:  # the line is as bad as that
        shown = b""
    key = next((name for oid, name in _REFUSED_KEYS.items() if oid in shown), None)
    if key is not None:
        return Finding(
            False, "TLS", f"the server's certificate has a key of {key}, which gRPC does not take", fix
        )
    return Finding(False, "TLS", f"gRPC does not accept the server's certificate ({reason})", fix)


def _encryption(config: ServerConfig, within: float) -> Finding | None:
    if config.insecure:
        return None
    title = "TLS"
    try:
        with probes.handshake(config, context(authorities.load(config.ca_file).pem), within) as secure:
            return Finding(True, title, f"{secure.version()}, {certificate.described(secure.getpeercert())}")
    except ssl.SSLCertVerificationError as error:
        return Finding(False, title, *_distrust(config, error, within))
    except probes.NoName:
        name = config.tls_server_name or config.host
        what = f"no certificate can have the name {name!r}"
        return Finding(False, title, what, "give the one that is in it by --tls-server-name")
    except TimeoutError:
        return _silent(config, title)
    except OSError as error:
        if (alert := _alert(error)) is not None:
            return _ended_by_alert(config, alert)
        if probes.speaks_http2(config, within):
            return Finding(
                False,
                title,
                f"the server at {config.address} speaks gRPC without TLS",
                "switch TLS on at the server; --insecure goes without, for a server on this machine",
            )
        reason = " ".join(str(error).split()) or type(error).__name__
        return Finding(
            False,
            title,
            f"{config.address} does not speak TLS ({reason})",
            f"check the port: the server's gRPC port is {DEFAULT_PORT} by default",
        )


def _silent(config: ServerConfig, title: str) -> Finding:
    return Finding(
        False,
        title,
        f"{config.address} accepts a connection and then says nothing",
        f"the server hangs, a firewall is in between, or it is another port than the gRPC one ({DEFAULT_PORT})",
    )


def _alert(error: OSError) -> str | None:
    """With which alert of TLS the server ended the connection; None where it was something else."""
    reason = str(getattr(error, "reason", None) or "") if isinstance(error, ssl.SSLError) else ""
    return reason.rpartition("ALERT_")[2].replace("_", " ").lower() if "ALERT_" in reason else None


def _ended_by_alert(config: ServerConfig, alert: str) -> Finding:
    return Finding(
        False,
        "TLS",
        f"the server at {config.address} refuses the TLS connection ({alert})",
        "where it asks clients for a certificate of their own, switch that off, as the mount has none; "
        "else look at its TLS versions (1.2 or 1.3) and ciphers",
    )


def _distrust(config: ServerConfig, error: ssl.SSLCertVerificationError, within: float) -> tuple[str, str]:
    """What is wrong with the certificate, and the fix."""
    code = error.verify_code
    if code in _WRONG_NAME:
        names = certificate.names(probes.certificate(config, within))
        known = ", ".join(names) or "no name at all"
        if names == [config.host] and not config.tls_server_name:
            return (
                f"the server's certificate names {known} as its common name, where an address does not count",
                "replace it on the server by one that has it as a subject alternative name",
            )
        choose = f"--tls-server-name {names[0]}" if names else "a certificate with a name"
        return (
            f"the server's certificate is not for {config.tls_server_name or config.host} but for {known}",
            f"if this is the right server, use {choose}",
        )
    if code == _EXPIRED:
        return (
            "the server's certificate has expired",
            "renew it on the server, and check this machine's clock",
        )
    if code == _NOT_YET:
        return "the server's certificate is not valid yet", "check the clocks of this machine and the server"
    if code in _UNTRUSTED:
        issuer = certificate.issuer(probes.certificate(config, within))
        by = f" (it was issued by {issuer})" if issuer else ""
        where = f"the one in {config.ca_file}" if config.ca_file else "one that this system trusts"
        return (
            f"the server's certificate is signed by another CA than {where}{by}",
            "give the PEM file of the right CA as --ca-file",
        )
    return f"the server's certificate is not accepted: {error.verify_message}", "replace it on the server"


def _protocol(config: ServerConfig, within: float) -> Finding:
    title = "gRPC"
    try:
        answer = probes.greeting(config, within)
    except TimeoutError:
        return _silent(config, title)
    except OSError as error:
        # With TLS 1.3 a server that wants our certificate says so only after the handshake.
        if (alert := _alert(error)) is not None:
            return _ended_by_alert(config, alert)
        answer = b""
    if probes.is_settings(answer):
        return Finding(True, title, "the server speaks HTTP/2, as gRPC does")
    if config.insecure and probes.speaks_tls(config, within):
        return Finding(
            False,
            title,
            f"the server at {config.address} speaks TLS",
            "leave out --insecure, and give --ca-file",
        )
    kind = "is a web server and speaks no gRPC" if answer.startswith(b"HTTP/1") else "speaks no gRPC"
    return Finding(
        False,
        title,
        f"what listens at {config.address} {kind}",
        f"check the port: the server's gRPC port is {DEFAULT_PORT} by default",
    )


def _service(config: ServerConfig, within: float) -> list[Finding]:
    """A login and a listing, as a mount begins with them."""
    import trio  # gRPC and trio, not before they are needed

    from exportfs.errors import ExportfsError
    from exportfs.rpc.server import Server

    async def look() -> list[Finding]:
        server = Server(config, timeout=2 * within)
        title = "login"
        found: list[Finding] = []
        try:
            await server.login.start()
            found = [Finding(True, title, f"as {config.user}")] if config.user else []
            title = "export service"
            listing = await server.list_sessions()
            return [*found, Finding(True, title, f"{len(listing.sessions)} sessions")]
        except ExportfsError as error:
            fix = "see the sentence; the mount would end with it as well"
            if DROPPED_HEADER in str(error):
                fix = (
                    "any proxy must pass on the header that the login names; in nginx: `underscores_in_headers on;`, "
                    "in Caddy: `expected_underscore_headers` with its name, among the options of `servers`; "
                    "in Envoy: `headers_with_underscores_action: ALLOW`"
                )
            elif found and "RST_STREAM" in str(error):
                fix = (
                    "where a proxy ends each call after the login so, it does not take the login's header: in Envoy "
                    "`headers_with_underscores_action` has to be ALLOW"
                )
            return [*found, Finding(False, title, str(error), fix)]
        finally:
            with trio.CancelScope(shield=True):
                await server.close()

    return trio.run(look)
