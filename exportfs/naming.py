"""Names in the tree, made from what the server says. Every function is pure and total: any text gives a legal
name, the same on every workstation (so no table of the system's is consulted).

A legal name is legal on ext4, exFAT and NTFS alike, since results end up on USB sticks: no control characters,
none of `<>:"|?*/\\`, no leading dot (hidden, and ours: `.control`), no trailing dot or space, no name of a
DOS device, valid UTF-8 of at most 255 bytes.
"""

import base64
import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

from exportfs.model import OptionsSummary
from exportfs.timestamps import parse_server

MAX_NAME_BYTES = 255
TAG_LENGTH = 8
MEND = "_"

_ILLEGAL = re.compile(r'[<>:"|?*/\\]')
_DOS_DEVICE = re.compile(r"(?i)(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?=\.|$)")
_LONGEST_EXTENSION = 16

# A MIME type, and the extensions that agree with it, the usual one first.
_EXTENSIONS: dict[str, tuple[str, ...]] = {
    "video/mp4": (".mp4", ".m4v"),
    "video/x-matroska": (".mkv", ".mk3d"),
    "video/matroska": (".mkv", ".mk3d"),
    "video/avi": (".avi",),
    "video/x-msvideo": (".avi",),
    "video/msvideo": (".avi",),
    "video/vnd.avi": (".avi",),
    "video/webm": (".webm",),
    "video/x-mkv": (".mkv",),
    "video/mp2t": (".ts", ".m2ts", ".mts"),
    "video/3gpp": (".3gp",),
    "video/x-ms-wmv": (".wmv",),
    "video/x-flv": (".flv",),
    "video/h264": (".h264", ".264"),
    "video/quicktime": (".mov", ".qt"),
    "video/mpeg": (".mpg", ".mpeg", ".mpe"),
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/jpg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png",),
    "image/bmp": (".bmp",),
    "image/gif": (".gif",),
    "image/tiff": (".tif", ".tiff"),
    "image/webp": (".webp",),
    "application/pdf": (".pdf",),
    "application/zip": (".zip",),
    "application/x-msdownload": (".exe", ".dll"),
    "application/x-ms-dos-executable": (".exe",),
    "application/x-dosexec": (".exe",),
    "application/vnd.microsoft.portable-executable": (".exe", ".dll"),
    "application/x-subrip": (".srt",),
    "audio/mp4": (".m4a", ".mp4"),
    "audio/mpeg": (".mp3", ".mp2"),
    "audio/wav": (".wav",),
    "audio/x-wav": (".wav",),
    "audio/aac": (".aac",),
    "audio/ogg": (".ogg", ".oga"),
    "text/csv": (".csv",),
    "text/html": (".html", ".htm"),
    "application/json": (".json",),
    "application/xml": (".xml",),
    "text/xml": (".xml",),
    "text/plain": (".txt", ".log", ".srt", ".csv"),
}


def tag(session_id: str) -> str:
    """First 8 characters of the lower-case base32 of the SHA-256 of the id."""
    digest = hashlib.sha256(encode(session_id)).digest()
    return base64.b32encode(digest).decode().lower()[:TAG_LENGTH]


def session_name(session_id: str, summary: OptionsSummary) -> str:
    """`<start>_<camera>_<kind>_<tag>`; follows from the id and the options alone."""
    if summary.live:
        start = "live"
    else:
        moment = parse_server(summary.start)
        # Not %Y: before the year 1000 it has fewer digits.
        start = f"{moment.year:04d}{moment:%m%dT%H%M%SZ}" if moment else "undated"
    more = f"+{summary.more_origins}" if summary.more_origins else ""
    tail = f"{more}_{summary.kind}_{tag(session_id)}"
    room = MAX_NAME_BYTES - len(start) - 1 - len(tail)
    return f"{start}_{_cut(_mend(camera_name(summary.origin)), room)}{tail}"


def camera_name(origin: str) -> str:
    """`Server.DeviceIpint.1` of `hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0`."""
    parts = [part for part in origin.removeprefix("hosts/").split("/") if part]
    if len(parts) > 1:
        parts = parts[:-1]
    return ".".join(parts) or "unknown"


def result_names(files: Iterable[tuple[str, str]]) -> list[str]:
    """Names of results, given as (file id, MIME type) in the server's order; all different.

    Names that differ only in case or in Unicode normal form count as the same: on exFAT and NTFS they are.
    """
    taken: set[str] = set()
    numbers: dict[str, int] = {}
    names = []
    for file_id, mime_type in files:
        name = result_name(file_id, mime_type)
        key = _same(name)
        if key in taken:
            stem, extension = split_extension(name)
            number = numbers.get(key, 1)
            while _same(name) in taken:
                number += 1
                suffix = f"~{number}{extension}"
                name = _cut(stem, MAX_NAME_BYTES - len(suffix.encode())) + suffix
            numbers[key] = number
        taken.add(_same(name))
        names.append(name)
    return names


def result_name(file_id: str, mime_type: str) -> str:
    """Legal name of one result: the last component of its file id, with an extension that fits its type."""
    parts = [part for part in re.split(r"[/\\]", file_id) if part]
    name = _mend(parts[-1] if parts else "")
    usual = _EXTENSIONS.get(mime_type.partition(";")[0].strip().lower())
    stem, extension = split_extension(name)
    if usual and extension.lower() not in usual:
        stem, extension = name, usual[0]
    return _cut(stem, MAX_NAME_BYTES - len(extension.encode())) + extension


def legal_name(text: str) -> str:
    """Any text of the server's as a legal name."""
    return _cut(_mend(text), MAX_NAME_BYTES)


def with_suffix(name: str, suffix: str) -> str:
    """A legal name and what tells it apart, shortened in front of that where it would be too long."""
    return _cut(name, MAX_NAME_BYTES - len(suffix.encode())) + suffix


def same_key(name: str) -> str:
    """Equal for names that count as the same: those that differ only in case or in Unicode normal form."""
    return _same(name)


def split_extension(name: str) -> tuple[str, str]:
    """Stem and extension (with its dot, or empty): what follows the last dot, if short and without spaces."""
    stem, dot, extension = name.rpartition(".")
    if (
        not dot
        or not stem
        or not extension
        or " " in extension
        or len(extension.encode()) >= _LONGEST_EXTENSION
    ):
        return name, ""
    return stem, dot + extension


def percent_encode(text: str) -> str:
    """Every byte outside `A-Za-z0-9._-` as `%XX`."""
    return "".join(
        chr(byte) if (chr(byte).isalnum() and byte < 128) or byte in b"._-" else f"%{byte:02X}"
        for byte in encode(text)
    )


def encode(text: str) -> bytes:
    """Bytes of a text from the server, as it sent them (surrogate escapes stand for what is not UTF-8)."""
    if text.isascii():  # nearly always, and ten times as fast
        return text.encode("ascii")
    return text.encode("utf-8", "surrogateescape" if _escaped(text) else "surrogatepass")


def readable(text: str) -> str:
    """A text from the server for people and JSON: bytes that were not UTF-8 as U+FFFD."""
    if text.isprintable():  # nearly always: surrogates are not
        return text
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def _escaped(text: str) -> bool:
    return all("\udc80" <= char <= "\udcff" for char in text if "\ud800" <= char <= "\udfff")


def _mend(text: str) -> str:
    """Legal but for its length; never empty."""
    text = encode(text).decode("utf-8", "replace").replace("\ufffd", MEND)
    text = _ILLEGAL.sub(MEND, "".join(_mended(char) for char in text))
    bare = text.rstrip(". ")
    text = bare + MEND * (len(text) - len(bare))
    if text.startswith("."):
        text = MEND + text[1:]
    text = _DOS_DEVICE.sub(lambda match: MEND + match[0], text, count=1) if _DOS_DEVICE.match(text) else text
    return text or MEND


def _mended(char: str) -> str:
    # Cc: control characters; Cf would take joiners out of scripts that need them, but the ones that turn the
    # direction of writing make "fdp.exe" look like "exe.pdf"; Zl and Zp break listings; Cn/Co are legal.
    if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} or char in _DIRECTION:
        return MEND
    return char


_DIRECTION = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def _cut(text: str, most: int) -> str:
    """At most this many bytes of UTF-8, no character cut in two, and still legal at its end."""
    if len(text.encode()) <= most:
        return text
    cut = text.encode()[:most].decode("utf-8", "ignore")
    bare = cut.rstrip(". ")
    return bare + MEND * (len(cut) - len(bare))


def _same(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def disambiguate(named: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """(id, name) pairs with all names different: of equal ones the second in the order of ids becomes `name~2`.

    Equal names need equal tags: two ids whose hashes agree in 40 bits, which only a hostile server has.
    """
    taken: set[str] = set()
    for session_id, name in sorted(named, key=lambda pair: (pair[1], pair[0])):
        unique, number = name, 1
        while unique in taken:
            number += 1
            unique = f"{_cut(name, MAX_NAME_BYTES - 1 - len(str(number)))}~{number}"
        taken.add(unique)
        yield session_id, unique
