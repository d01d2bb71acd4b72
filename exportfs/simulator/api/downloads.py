"""DownloadFile: which blocks a request gets."""

from collections.abc import Iterator

import grpc

from exportfs.simulator.api.calls import Call
from exportfs.simulator.api.refusal import Refused, invalid, not_found_session, precondition
from exportfs.simulator.config import DownloadConfig
from exportfs.simulator.exports.results import StoredFile
from exportfs.simulator.exports.session import COMPLETED, REMOVED, Session
from exportfs.simulator.faults.actions import Block


def find_file(session: Session, path: str) -> StoredFile:
    """Raises Refused where it cannot be downloaded, now or ever."""
    if session.state == REMOVED:
        raise not_found_session()
    if session.state != COMPLETED:
        raise precondition("The export is not completed")
    file = session.file(path)
    if file is None:
        raise Refused(grpc.StatusCode.NOT_FOUND, "There is no such file in the session")
    if not file.downloadable:
        raise precondition("The file is not stored on the server")
    return file


def block_size(call: Call, config: DownloadConfig) -> int:
    """Bytes in a block. Raises Refused with INVALID_ARGUMENT for a size that the server does not take."""
    size = call.chunk_size_kb
    if size <= 0:
        raise invalid("chunk_size_kb must be positive")
    if config.max_chunk_kb is not None and size > config.max_chunk_kb:
        if config.over_cap == "refuse":
            raise invalid(f"chunk_size_kb is at most {config.max_chunk_kb}")
        size = config.max_chunk_kb
    return size * 1024


def blocks(call: Call, session: Session, file: StoredFile, config: DownloadConfig) -> Iterator[Block]:
    """The blocks from the start index to the end of the file. Raises Refused, also in between."""
    size = block_size(call, config)
    index = call.start_index
    content = file.content
    if index * size >= content.size and config.past_end == "error" and index > 0:
        raise Refused(grpc.StatusCode.OUT_OF_RANGE, "The file ends before this block")
    # Bytes are looked up anew for every block: a test may change what the file holds meanwhile.
    while data := file.content.read(index * size, size):
        if session.state == REMOVED:
            raise not_found_session()
        yield index, data
        index += 1
