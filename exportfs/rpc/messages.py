"""gRPC's messages, put together from what comes of them:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Pure."""

from exportfs.config import MIB
from exportfs.errors import Corrupt
from exportfs.rpc.http2_client import Misunderstood

PREFIX = 5
"""Bytes before each message: whether it is compressed, and its length."""
LARGEST = 16 * MIB
"""Bytes of a message."""


class Messages:
    """Of one stream. What comes is put where `room` says, and told by `filled`."""

    def __init__(self) -> None:
        self.base = 0
        """Offset in the stream of the message that comes now."""
        self.length: int | None = None
        """Of that message; None as long as its prefix has not come."""
        self.here = 0
        """Bytes of it, or of its prefix."""
        self._prefix = bytearray(PREFIX)
        self._message = bytearray()

    @property
    def within(self) -> bool:
        """Whether some of a message has come."""
        return self.length is not None or self.here > 0

    @property
    def beginning(self) -> memoryview:
        """What is here of the message."""
        return memoryview(self._message)[: self.here]

    def room(self, most: int) -> memoryview:
        """Where what comes next belongs, up to so many bytes of it."""
        part = self._prefix if self.length is None else self._message
        return memoryview(part)[self.here : self.here + most]

    def filled(self, count: int) -> bytearray | None:
        """So many bytes are there; gives the message that is whole with them. Raises Corrupt, and Misunderstood."""
        self.here += count
        if self.length is None:
            if self.here < PREFIX:
                return None
            self.here = 0
            length = int.from_bytes(self._prefix[1:], "big")
            if self._prefix[0]:
                # Asked for none; gRPC can read it nevertheless.
                raise Misunderstood("the server compresses its answers")
            if length > LARGEST:
                raise Corrupt("a block cannot be read: it is too long")
            self.length, self._message = length, bytearray(length)
        if self.here < self.length:
            return None
        self.base += PREFIX + self.length
        message, self._message = self._message, bytearray()
        self.length, self.here = None, 0
        return message
