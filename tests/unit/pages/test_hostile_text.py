"""Whatever a server sends is text on a page: parsed as browsers parse it."""

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exportfs.naming import result_name, result_names
from exportfs.pages.overview import (
    FurtherPage,
    PageView,
    ResultView,
    SessionView,
    overview_page,
    session_part,
)
from exportfs.pages.safe import link, shown
from exportfs.pages.times import Interval, moment
from tests.support.hostile import texts
from tests.unit.pages.parsing import check_harmless, links, parse, path_of, text_of

MARKUP = (
    *(
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '"><svg onload=alert(1)>',
        "' onclick='x()",
    ),
    *(
        "javascript:alert(1)",
        "data:text/html,<script>x</script>",
        "//evil.example/x",
        "https://evil.example/",
    ),
    *(
        "</title></style></p>",
        "<!--",
        "-->",
        "]]>",
        "{{ 7*7 }}",
        "{% raw %}",
        "&lt;",
        "&#x22;",
        "&amp",
        "<base href=/>",
    ),
    *(
        "\u202egpj.exe",
        "\u2066x",
        "\ufffe",
        "\U0001ffff",
        "\x00",
        "\x1b]0;x\x07",
        "\r\n",
        "#?%2e%2e/",
        "\udcff",
    ),
)
HOSTILE = st.one_of(
    st.sampled_from(MARKUP), texts(6), st.tuples(texts(3), st.sampled_from(MARKUP)).map("".join)
)
WHEN = Interval(moment(datetime(2026, 5, 11, 8, tzinfo=UTC), UTC), None)


@st.composite
def sessions(draw: st.DrawFn) -> SessionView:
    ids = draw(st.lists(HOSTILE, max_size=4))
    names = result_names((file_id, draw(HOSTILE)) for file_id in ids)
    results = tuple(ResultView(name, 1000, draw(st.none() | HOSTILE)) for name in names)
    return SessionView(
        name=result_name(draw(HOSTILE), ""),
        cameras=tuple(draw(st.lists(HOSTILE, max_size=3))),
        interval=WHEN,
        live=draw(st.booleans()),
        kind="mp4",
        state=draw(st.sampled_from(("running", "completed", "failed", "stopped"))),
        progress=draw(st.none() | st.floats(0, 1)),
        expiry="",
        error=draw(st.none() | HOSTILE),
        warnings=tuple(draw(st.lists(HOSTILE, max_size=2))),
        results=results,
    )


@pytest.mark.promise("G3")
@settings(deadline=None, max_examples=60)
@given(session=sessions(), server=HOSTILE, trouble=st.none() | HOSTILE, up=st.sampled_from(("", "../")))
def test_overview(session: SessionView, server: str, trouble: str | None, up: str) -> None:
    view = PageView(
        server=server,
        title="Exports",
        total=2,
        shown=1,
        counts=(("running", 1),),
        trouble=trouble,
        as_of=None,
        refreshes=True,
        still=".pages/still.html",
        up=up,
        further=[FurtherPage("2026-05-11", ".pages/2026-05-11.html", 1)],
    )
    root = parse(overview_page(view, [("2026-05-11", [session_part(session, up)])]))
    check_harmless(root)
    text = text_of(root)
    for said in (*session.cameras, session.error, *session.warnings, server, trouble):
        assert shown(said or "") in text
    here = up.encode()
    found = [path_of(href) for _, href in links(root)]
    for result in session.results:
        assert shown(result.name) in text
        path = here + b"sessions/%b/%b" % (session.name.encode(), result.name.encode())
        assert (path in found) is (result.location is None)


@pytest.mark.promise("G3")
@given(text=HOSTILE)
def test_text_is_shown_as_it_is(text: str) -> None:
    said = shown(text)
    assert not any("\u202a" <= char <= "\u202e" or "\u2066" <= char <= "\u2069" for char in said)
    assert all(char.isprintable() or char in "\u200c\u200d\u00a0" for char in said)
    assert said == text or not text.isprintable()
    assert "".join(filter(str.isprintable, text)) == text or len(said) >= len(text)


@pytest.mark.promise("G3")
@given(names=st.lists(HOSTILE.map(lambda text: result_name(text, "")), min_size=1, max_size=3))
def test_links_lead_to_the_names(names: list[str]) -> None:
    made = link(*names)
    assert path_of(made) == "/".join(names).encode()
    assert ":" not in made
    assert not made.startswith("/")
