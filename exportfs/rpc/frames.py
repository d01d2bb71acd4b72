"""Frames of HTTP/2, before h2 sees them. Pure."""

from exportfs.config import KIB

FRAME = 64 * KIB
"""Bytes of the largest frame that the server may send; more is handed over no sooner."""


class Goodbyes:
    """Takes GOAWAY frames out of what a server sends: after one, h2 would know of no stream any more."""

    HEAD = 9
    """Bytes of a frame's header: 3 of length, type, flags, 4 of stream. RFC 9113, 4.1."""
    GOAWAY = 7

    def __init__(self) -> None:
        self._left = 0
        """Bytes of the current frame that are still to come, and to be passed on."""
        self._held = b""
        """The beginning of a frame of which too little is here."""

    def split(self, data: bytes) -> tuple[bytes, list[int]]:
        """What is for h2, and the last stream that each GOAWAY names."""
        if len(data) <= self._left:
            self._left -= len(data)
            return data, []
        data, at = self._held + data, self._left  # one of the two is nothing
        begin, passed, lasts = 0, list[bytes](), list[int]()
        while len(data) - at >= self.HEAD:
            length = int.from_bytes(data[at : at + 3], "big")
            end = at + self.HEAD + length
            # One that is malformed is h2's to refuse.
            if data[at + 3] == self.GOAWAY and 8 <= length <= FRAME:
                if end > len(data):
                    break
                lasts.append(int.from_bytes(data[at + self.HEAD : at + self.HEAD + 4], "big") & 0x7FFFFFFF)
                passed.append(data[begin:at])
                begin = end
            at = end
        self._left = max(0, at - len(data))
        self._held = data[at:]
        rest = data[begin:at]
        return b"".join([*passed, rest]) if passed else rest, lasts
