"""`report.html` and the index over several: hostile manifests, and what must stand first."""

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exportfs.naming import result_names
from exportfs.pages.report import CopiedSession, SignatureView, in_words, report_page, several_page
from exportfs.pages.safe import shown
from tests.unit.pages.parsing import check_harmless, links, parse, path_of, text_of
from tests.unit.pages.test_hostile_text import HOSTILE

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | HOSTILE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HOSTILE, inner, max_size=3),
    max_leaves=6,
)
TIMES = (
    st.sampled_from(("20260511T080411.064000", "2026-05-11T08:04:11Z", "", "0001-01-01T00:00:00Z")) | HOSTILE
)
INTERVALS = st.fixed_dictionaries({"begin": TIMES | st.none(), "end": TIMES | st.none()}) | JUNK


@st.composite
def manifests(draw: st.DrawFn) -> dict[str, Any]:
    names = result_names((file_id, "") for file_id in draw(st.lists(HOSTILE, max_size=3)))
    files = [
        {
            "name": name,
            "size": draw(st.integers(0, 10**12)),
            "sha256": "0" * 64,
            "mime_type": draw(HOSTILE | JUNK),
            "min_timestamp": draw(TIMES | JUNK),
            "max_timestamp": draw(TIMES | JUNK),
            "copied_at": draw(TIMES),
            "copied_by": draw(st.fixed_dictionaries({"user": HOSTILE, "host": HOSTILE}) | JUNK),
        }
        for name in names
    ]
    missing = st.fixed_dictionaries(
        {"name": HOSTILE, "reason": HOSTILE, "location": HOSTILE | JUNK, "size": JUNK}
    )
    sources = st.lists(st.fixed_dictionaries({"origin": HOSTILE}), max_size=3)
    coverage = st.fixed_dictionaries(
        {
            "asked": INTERVALS,
            "results": INTERVALS,
            "share": st.none() | st.floats() | JUNK,
            "gaps": st.lists(INTERVALS, max_size=2) | JUNK,
            "warnings": st.lists(HOSTILE, max_size=2) | JUNK,
            "note": HOSTILE | st.none(),
        }
    )
    return {
        "server": draw(HOSTILE),
        "tool": "axxon-exportfs 1",
        "session": {
            "id": draw(HOSTILE),
            "name": draw(HOSTILE),
            "state": draw(st.sampled_from(("completed", "failed", "stopped"))),
            "error": draw(HOSTILE | st.none()),
            "cameras": draw(st.lists(HOSTILE, max_size=3) | JUNK),
            "options": draw(
                st.fixed_dictionaries({"archive": st.fixed_dictionaries({"sources": sources})}) | JUNK
            ),
            "coverage": draw(coverage | JUNK),
        },
        "files": files,
        "not_copied": draw(st.lists(missing, max_size=2)),
        "created_at": draw(TIMES),
        "verified_at": draw(TIMES),
    }


@pytest.mark.slow
@pytest.mark.promise("G3", "G6")
@settings(deadline=None, max_examples=60)
@given(manifest=manifests(), signed=st.booleans())
def test_hostile_report(manifest: dict[str, Any], signed: bool) -> None:
    signature = SignatureView("ssh", "SHA256SUMS.sig", "SHA256:x", "user@host", "ssh-ed25519 AAAA")
    options = json.dumps(manifest["session"]["options"], indent=2)
    page = report_page(manifest, options, signature=signature if signed else None)
    root = parse(page)
    check_harmless(root)
    text = text_of(root)
    found = [path_of(link) for _, link in links(root)]
    for file in manifest["files"]:
        assert shown(file["name"]) in text
        assert file["name"].encode() in found
    for one in manifest["not_copied"]:
        assert shown(one["reason"]) in text
    headings = ["".join(heading.itertext()) for heading in root.iter("h2")]
    if manifest["not_copied"]:
        assert headings.pop(0).startswith("Not copied")
    assert headings[0] == "Is all footage there?"


@pytest.mark.promise("G6")
@pytest.mark.parametrize(
    ("share", "shows"), [(0.999, "99 %"), (1, "100 %"), (7.5, "100 %"), (-1, "0 %"), (math.nan, None)]
)
def test_the_share_of_a_report(share: float, shows: str | None) -> None:
    """JSON that Python reads has NaN, too: no share is told then."""
    page = report_page({"session": {"coverage": {"share": share, "warnings": ["less"]}}}, "{}")
    found = re.search(r"\d+ %", text_of(parse(page)))
    assert (found and found[0]) == shows


@pytest.mark.slow
@pytest.mark.promise("G3", "G6")
@settings(deadline=None, max_examples=20)
@given(documents=st.lists(manifests(), min_size=2, max_size=3), folder=HOSTILE)
def test_hostile_index(documents: list[dict[str, Any]], folder: str) -> None:
    names = result_names([(folder, "")] * len(documents))
    sessions = [
        CopiedSession(name, (name, "report.html"), document, "0" * 64)
        for name, document in zip(names, documents, strict=True)
    ]
    root = parse(several_page(sessions))
    check_harmless(root)
    assert [path_of(link) for _, link in links(root)] == [f"{name}/report.html".encode() for name in names]


@pytest.mark.promise("G6")
def test_options_in_words() -> None:
    options = {
        "archive": {
            "sources": [{"origin": "hosts/S/A"}, {"origin": "hosts/S/B"}],
            "startTimestamp": "20260511T080411",
        },
        "stream": {"maxFileSize": 5, "useMask": True},
        "comment": {},
    }
    assert [name for name, _ in in_words(options)] == [
        "from the archive: camera 1: access point",
        "from the archive: camera 2: access point",
        "from the archive: from",
        "video: max file size",
        "video: use mask",
        "comment",
    ]
    values = dict(in_words(options))
    assert "2026-05-11 08:04:11 UTC" in values["from the archive: from"]
    assert values["video: use mask"] == "yes"
