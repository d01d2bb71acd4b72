"""A result of some chunks, for tests of copying."""

CONTENT = bytes(range(256)) * 40
CHUNK = 1000
