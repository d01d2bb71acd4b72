"""What others wrote, made fit for a page: text that is only text, and links that only lead to files nearby."""

import functools

from exportfs.naming import percent_encode

_encoded = functools.lru_cache(maxsize=1024)(percent_encode)

_JOINERS = frozenset("\u200c\u200d\u00a0")
"""Invisible, and needed in scripts that people write; none of them turns the direction of writing."""


def shown(text: str, *, lines: bool = False) -> str:
    """The text with everything invisible in it spelt out (`[U+202E]`), so that it looks like what it is.

    These are control characters, what turns the direction of writing, and what no HTML may hold. Bytes that were not
    UTF-8 become U+FFFD. With `lines` line breaks and tabs stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(char, lines) for char in text)


def _shown(char: str, lines: bool) -> str:
    if char.isprintable() or char in _JOINERS or (lines and char in "\n\t"):
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return f"[U+{code:04X}]"


def link(*names: str, below: str = "") -> str:
    """A relative link to a file by its names, from directory to file. Whatever is in them, it has no scheme, no host,
    no query and no fragment.

    below: how to get from the page to where the names begin, such as `../`.
    """
    return below + "/".join(map(_encoded, names))


def kind_of(name: str) -> str:
    """What a browser can do with a file: `video`, `image`, `pdf`, `program`, or `other`, by its name's extension.

    Not by the MIME type: a browser that opens a file has its name and no more.
    """
    extension = name.rpartition(".")[2].lower()
    for kind, extensions in _KINDS.items():
        if extension in extensions:
            return kind
    return "other"


_KINDS = {
    "video": frozenset({"mp4", "m4v", "mkv", "mov", "webm"}),
    "image": frozenset({"jpg", "jpeg", "png", "gif", "bmp", "webp"}),
    "pdf": frozenset({"pdf"}),
    "program": frozenset({"exe", "msi", "com", "bat", "cmd", "scr", "ps1", "vbs", "js", "jar"}),
}
