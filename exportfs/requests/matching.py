"""Whether a session that the server lists is the one that was asked for."""

import hashlib
import threading
from typing import Any

from cachetools import LRUCache, cached

from exportfs.errors import Corrupt
from exportfs.requests.fill import is_map
from exportfs.requests.instants import is_timestamp
from exportfs.requests.summary import read_options
from exportfs.timestamps import parse_server, to_server


def matches(sent: bytes, listed: bytes) -> bool:
    """Whether `listed` are the very options that were `sent`.

    Not told apart: which agent carries it out, where none was asked for; two spellings of one timestamp or
    duration; fields that the contract does not know. Never raises: what cannot be read matches nothing.
    """
    if sent == listed:
        return True
    try:
        any_agent = not read_options(sent).export_agent_access_point
        return fingerprint(sent, any_agent=any_agent) == fingerprint(listed, any_agent=any_agent)
    except Corrupt:
        return False


def _key(options: bytes, *, any_agent: bool) -> tuple[bytes, bool]:
    # Not the options themselves: a request may be megabytes, and would be held long after its file is gone.
    return hashlib.sha256(options).digest(), any_agent


@cached(LRUCache(4096), _key, threading.Lock())
def fingerprint(options: bytes, *, any_agent: bool) -> str:
    """Equal for Options that ask for the same export; `any_agent` leaves the agent out of it. Hexadecimal SHA-256.

    Raises Corrupt where the bytes are no Options.
    """
    message = read_options(options)
    if any_agent:
        message.ClearField("export_agent_access_point")
    return hashlib.sha256(_normal(message)).hexdigest()


def _normal(message: Any) -> bytes:
    message.DiscardUnknownFields()
    _even_out(message)
    return bytes(message.SerializeToString(deterministic=True))


def _even_out(message: Any) -> None:
    """Brings all that can be spelt in two ways into one form."""
    descriptor = message.DESCRIPTOR
    if descriptor.full_name == "google.protobuf.Duration":
        total = message.seconds * 1_000_000_000 + message.nanos
        sign = -1 if total < 0 else 1
        seconds, nanos = divmod(abs(total), 1_000_000_000)
        if seconds < 2**63:
            message.seconds, message.nanos = sign * seconds, sign * nanos
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            if is_timestamp(field):
                instant = parse_server(value)
                if instant is not None:
                    setattr(message, field.name, to_server(instant))
        elif is_map(field):
            for key in value:
                _even_out(value[key])
        elif field.is_repeated:
            for item in value:
                _even_out(item)
        else:
            _even_out(value)
