"""Bytes of results: held in memory, or computed from the offset for files of any size."""

import hashlib
from dataclasses import dataclass
from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

_CIPHER_BLOCK = 16
_ZEROS = bytes(1 << 20)


def content(seed: str | int, offset: int, length: int) -> bytes:
    """`length` computed bytes of the endless file `seed`, from `offset` on.

    A cipher's key stream in counter mode: seekable, different at every offset and for every seed, and made
    at several GB/s. Raises ValueError for a negative offset or length.
    """
    if offset < 0 or length < 0:
        raise ValueError("offset and length must not be negative")
    first, skip = divmod(offset, _CIPHER_BLOCK)
    key = hashlib.sha256(str(seed).encode("utf-8", "surrogatepass")).digest()[:16]
    stream = Cipher(algorithms.AES(key), modes.CTR(first.to_bytes(_CIPHER_BLOCK, "big"))).encryptor()
    wanted = skip + length
    if wanted <= len(_ZEROS):
        return stream.update(memoryview(_ZEROS)[:wanted])[skip:]
    return stream.update(bytes(wanted))[skip:]


class Content(Protocol):
    """What a file holds."""

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """The bytes from `offset` on: `length` of them, or fewer where the file ends before."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A file in memory: media, or what a test gives."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        return self.data[offset : offset + length]


@dataclass(frozen=True, slots=True)
class Computed:
    """A file of `size` bytes that takes neither memory nor disk; see `content`."""

    seed: str | int
    size: int

    def read(self, offset: int, length: int) -> bytes:
        return content(self.seed, offset, max(0, min(length, self.size - offset)))
