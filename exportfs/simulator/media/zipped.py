"""A file in an encrypted ZIP archive, as a password makes of a result."""

import os
import struct
import zlib

_TABLE = [0] * 256
for _number in range(256):
    _value = _number
    for _ in range(8):
        _value = (_value >> 1) ^ (0xEDB88320 if _value & 1 else 0)
    _TABLE[_number] = _value


class _Cipher:
    """The traditional encryption of PKWARE's APPNOTE, 6.1: what every program opens."""

    def __init__(self, password: bytes) -> None:
        self._keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self._update(byte)

    def _update(self, byte: int) -> None:
        keys = self._keys
        keys[0] = (keys[0] >> 8) ^ _TABLE[(keys[0] ^ byte) & 0xFF]
        keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        keys[2] = (keys[2] >> 8) ^ _TABLE[(keys[2] ^ (keys[1] >> 24)) & 0xFF]

    def encrypt(self, data: bytes) -> bytes:
        result = bytearray()
        for byte in data:
            mixed = (self._keys[2] & 0xFFFF) | 2
            result.append(byte ^ ((mixed * (mixed ^ 1)) >> 8) & 0xFF)
            self._update(byte)
        return bytes(result)


def encrypted_zip(name: str, data: bytes, password: str) -> bytes:
    """An archive with one stored file, which `password` opens. A second for each megabyte."""
    crc = zlib.crc32(data)
    # Twelve bytes come before: random, but for the last, by which a wrong password is noticed.
    body = _Cipher(password.encode()).encrypt(os.urandom(11) + bytes([crc >> 24]) + data)
    encoded = name.encode()
    # Version 2.0; encrypted, and the name in UTF-8; stored; 2026-05-11 08:00.
    common = struct.pack(
        "<HHHHHIIIHH", 20, 0x0801, 0, 0x4000, 0x5CAB, crc, len(body), len(data), len(encoded), 0
    )
    local = b"PK\x03\x04" + common + encoded + body
    directory = (
        b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + encoded
    )
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(directory), len(local), 0)
    return local + directory + end
