"""Names in new/: which of them are submitted, and what stands beside a request. Pure."""

import hashlib

from exportfs.naming import MAX_NAME_BYTES, encode

REQUEST_ENDING = ".json"
ERROR_ENDING = ".error"
_SCRATCH_ENDINGS = ("~", ".tmp", ".part", ".swp", ".swx")


def is_request(name: str) -> bool:
    """Whether closing a file of this name submits it."""
    return name.endswith(REQUEST_ENDING) and not name.startswith(".")


def link_name(name: str) -> str:
    """Name of the link that a request gets."""
    return name.removesuffix(REQUEST_ENDING)


def suggested_name(name: str) -> str:
    """A request name for what was written as scratch."""
    for ending in (*_SCRATCH_ENDINGS, ".txt", ".jsn", ".JSON"):
        name = name.removesuffix(ending)
    return name if name.endswith(REQUEST_ENDING) else name + REQUEST_ENDING


def error_name(name: str) -> str:
    """Name of what says what is wrong with `name`: `NAME.error`, shortened where that would be too long."""
    data = encode(name)
    if len(data) + len(ERROR_ENDING) <= MAX_NAME_BYTES:
        return name + ERROR_ENDING
    tail = f"~{hashlib.sha256(data).hexdigest()[:8]}{ERROR_ENDING}"
    return data[: MAX_NAME_BYTES - len(tail)].decode("utf-8", "ignore") + tail
