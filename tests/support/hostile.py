"""Texts that a hostile server might send, for hypothesis."""

from hypothesis import strategies as st

from exportfs.naming import encode

PIECES = (
    *(
        "/",
        "\\",
        "..",
        ".",
        " ",
        "~2",
        ".mp4",
        ".MP4",
        ".json",
        ".control",
        ".session.json",
        "con",
        "NUL",
        "lpt1",
    ),
    *(
        "\0",
        "\n",
        "\x1b[31m",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        '<>:"|?*',
        "%2F",
        "é",
        "e\u0301",
        "ß",
        "SS",
    ),
    *("\udcff", "\udcc3", "İ", "\u0131", "\U0001f600", "\U0010ffff", "a", "A", "x" * 300, "日" * 100),
)


def texts(most: int = 12) -> st.SearchStrategy[str]:
    """Of every Unicode plane, of what means something to filesystems, and of bytes that are not UTF-8."""
    any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
    foreign = st.binary(max_size=4).map(lambda data: data.decode("utf-8", "surrogateescape"))
    pieces = st.one_of(st.sampled_from(PIECES), any_text, foreign)
    joined = st.lists(pieces, max_size=most).map("".join)
    # What comes over the wire is bytes: bytes that together are UTF-8 after all are text.
    return joined.map(lambda text: encode(text).decode("utf-8", "surrogateescape"))


MIME_TYPES = st.one_of(
    st.sampled_from(("", "video/mp4", "VIDEO/MP4; codecs=avc1", "image/jpeg", "application/pdf", "x/y")),
    texts(3),
)
