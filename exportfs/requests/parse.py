"""From the bytes of a request file to Options that can be sent."""

import contextlib
import hashlib
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from exportfs.model import OptionsSummary
from exportfs.requests.advice import advice
from exportfs.requests.collect import Collector, EnoughError
from exportfs.requests.fill import fill
from exportfs.requests.json_text import (
    BOM,
    MAX_VALUES,
    UTF_16_MARKS,
    UTF_32_MARKS,
    BadJsonError,
    CrowdedError,
    line_column,
    loads,
)
from exportfs.requests.problems import Problem, RequestError, RequestTooLarge
from exportfs.requests.summary import summarize
from exportfs.requests.wrapping import unwrap
from exportfs.wire import export

MAX_REQUEST_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request that passed every check."""

    options: bytes
    """Deterministically serialized `Options`, timestamps in the server's form, in UTC."""
    digest: str
    """Hex SHA-256 of `options`: two contents with the same digest are the same request."""
    summary: OptionsSummary
    warnings: tuple[str, ...]
    """Sentences on what is allowed and may still surprise, such as results that cannot be downloaded."""
    where: tuple[str | int, ...] = field(default=(), compare=False)
    """Path of the Options within the JSON text: not empty where they were wrapped."""


def parse(content: bytes, *, default_agent: str | None = None, local_zone: tzinfo | None = None) -> Request:
    """Checks a request, the protobuf JSON form of Options, and makes what is to be sent of it.

    Also taken are the Options within what people copy them from (see `wrapping`), and UTF-16 with a byte order mark.

    `default_agent` is the export agent's access point for a request that names none. `local_zone` (None: this
    machine's) only serves to explain what a time without an offset may mean; such a time is always refused.

    Raises RequestError with all that is wrong (up to 100 problems), RequestTooLarge over MAX_REQUEST_BYTES
    or 500,000 values.
    """
    if len(content) > MAX_REQUEST_BYTES:
        raise RequestTooLarge(
            f"The request has {len(content)} bytes; at most {MAX_REQUEST_BYTES} (16 MiB) are taken."
        )
    text, value = _read(content)
    options = export.Options()
    found = Collector(local_zone)
    with contextlib.suppress(EnoughError):
        inner, where = unwrap(value, found)
        if not found:
            fill(options, inner, where, found)
    found.raise_for(text)
    if default_agent and not options.export_agent_access_point:
        options.export_agent_access_point = default_agent
    _warn_of_results(options, found)
    serialized = options.SerializeToString(deterministic=True)
    for sentence in advice(serialized):
        found.warn(f"{sentence[:1].upper()}{sentence[1:]}.")
    digest = hashlib.sha256(serialized).hexdigest()
    return Request(serialized, digest, summarize(serialized), tuple(found.warnings), where)


def read_text(content: bytes) -> str:
    """The text of a request that was parsed. Raises RequestError."""
    return _read(content)[0]


def _read(content: bytes) -> tuple[str, Any]:
    """The text without a byte order mark, and its JSON value. Raises RequestError."""
    content = _utf8(content)
    hole = content.find(b"\0")
    if hole >= 0:
        before = content[:hole].decode(errors="replace").removeprefix(BOM)
        message = "a NUL byte stands here: a part of the file was never written, or it is not UTF-8 text"
        raise RequestError([Problem("", message, *line_column(before, len(before)))])
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode().removeprefix(BOM)
        what = f"the byte 0x{content[error.start]:02x} here is not UTF-8; save the file as UTF-8"
        raise RequestError([Problem("", what, *line_column(before, len(before)))]) from error
    text = text.removeprefix(BOM)
    if not text.strip(" \t\r\n"):
        raise RequestError([Problem("", "the request is empty")])
    try:
        return text, loads(text)
    except CrowdedError as error:
        raise RequestTooLarge(
            f"The request holds more values than the {MAX_VALUES} that are taken."
        ) from error
    except BadJsonError as error:
        where = line_column(text, error.fault.position)
        raise RequestError([Problem("", f"not JSON: {error.fault.message}", *where)]) from error


def _utf8(content: bytes) -> bytes:
    """As UTF-8, what an editor on Windows has saved as UTF-16 with a byte order mark. Raises RequestError."""
    if content.startswith(UTF_32_MARKS):
        raise RequestError([Problem("", "the file is UTF-32; save it as UTF-8", 1, 1)])
    if not content.startswith(UTF_16_MARKS):
        return content
    try:
        return content.decode("utf-16").encode()
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-16", "replace")
        what = "the file is UTF-16 and broken here; save it as UTF-8"
        raise RequestError([Problem("", what, *line_column(before, len(before)))]) from error


def _warn_of_results(options: Any, found: Collector) -> None:
    """Where the results will be, when it is not here: documented for DownloadFile."""
    if options.store_result_by_export_agent:
        found.warn(
            "The results will not be downloadable: storeResultByExportAgent leaves them with the agent."
        )
    if options.external_directory:
        found.warn(
            "The results will not be downloadable: externalDirectory puts them into a directory "
            "of the agent's machine."
        )
    if options.cloud_export:
        found.warn(
            "The results will not be downloadable once they are in the cloud, where cloudExport puts them."
        )
