"""Pages as a browser parses them, and what must never be in one."""

from collections.abc import Iterator
from urllib.parse import unquote_to_bytes, urlsplit
from xml.etree.ElementTree import Element

import html5lib

ELEMENTS = """html head meta title style body header main footer nav section article h1 h2 h3 h4 p ul ol li a bdi time
    span br progress strong em code pre details summary video img table caption thead tbody tr th td div dl dt dd"""
"""What a page is made of."""
ATTRIBUTES = """lang charset http-equiv content name class id aria-labelledby aria-label role href src datetime max
    value controls preload loading decoding alt open scope tabindex colspan"""


def parse(page: bytes) -> Element:
    """The document's root. Fails where the page is not valid to the letter."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    root: Element = parser.parse(page, transport_encoding="utf-8")
    return root


def text_of(root: Element) -> str:
    """All text of the body."""
    body = root.find("body")
    assert body is not None
    return "".join(body.itertext())


def links(root: Element) -> Iterator[tuple[str, str]]:
    """Name of the element, and where it leads or what it shows."""
    for element in root.iter():
        for name in ("href", "src"):
            if name in element.attrib:
                yield str(element.tag), element.attrib[name]


def path_of(link: str) -> bytes:
    """The file that a relative link leads to."""
    return unquote_to_bytes(urlsplit(link).path)


def check_harmless(root: Element) -> None:
    """Nothing runs, nothing comes from elsewhere, and every link leads to a file nearby."""
    for element in root.iter():
        assert element.tag in ELEMENTS.split(), element.tag
        assert set(element.attrib) <= set(ATTRIBUTES.split()), element.attrib
    policies = [
        meta.attrib["content"]
        for meta in root.iter("meta")
        if meta.attrib.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none';")
    assert "unsafe" not in policies[0]
    assert "http" not in policies[0]
    for _, link in links(root):
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc, parts.query) == ("", "", ""), link
        assert not link.startswith("/"), link
        assert link.isascii(), link
        assert not set("\\\"'<>` \t\r\n") & set(link), link
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
