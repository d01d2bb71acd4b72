"""The thin lines' arithmetic and tables, and one short run through the proxy."""

import pytest

from bench import line, thin_measures
from bench.goals import OURS, Results
from bench.processes import Failed
from bench.thin_line import Kind, kind
from bench.thin_measures import Numbers


def plan(cache_size: str = "256M", measures: list[str] | None = None) -> line.ThinPlan:
    return line.ThinPlan(Kind(1_250_000), cache_size=cache_size, measures=measures or [])


def test_a_line_is_rate_and_round_trip() -> None:
    assert kind("10mbit") == Kind(1_250_000)
    assert kind("100Mbit,20ms") == Kind(12_500_000, 0.02)
    assert str(kind("100mbit,20ms")) == "100 Mbit/s and 20 ms"
    for wrong in ("10", "10mbit,20", "mbit", "10mbit, 20ms"):
        with pytest.raises(ValueError, match="not a line"):
            kind(wrong)


def test_goals_are_medians_against_sshfs_and_the_line() -> None:
    results = Results()
    for ours, theirs in ((100, 100), (104, 100), (300, 100)):
        ours_found = {"jump after streaming, ms": ours, "1 MiB in sequence after a jump, ms": 838.8608}
        results.add("10 Mbit/s", OURS, ours_found)
        results.add("10 Mbit/s", line.SSHFS, {"jump after streaming, ms": theirs})
    found = {goal.text: goal for goal in line.goals(results, plan())}
    assert found.keys() == {
        "jump after streaming / sshfs",
        "1 MiB in sequence after a jump / the line's own time",
    }
    jump = found["jump after streaming / sshfs"]
    assert (jump.value, jump.low, jump.high, jump.met) == (1.04, 1, 3, True)
    assert found["1 MiB in sequence after a jump / the line's own time"].value == pytest.approx(1)
    assert "| jump after streaming, ms | 104 (100\N{EN DASH}300) | 100 |" in line.rows(results, "10 Mbit/s")


def test_players_are_compared_round_by_round_and_memory_with_the_cache() -> None:
    results = Results()
    for alone, beside, resident in ((1, 3, 100), (2, 3, 113), (3, 3, 90)):
        results.add(
            "10 Mbit/s",
            OURS,
            {
                "player alone: a read, mean ms": alone,
                "beside a player and a copy: a read, mean ms": beside,
                "memory and socket buffers, MiB": resident,
            },
        )
    players, memory = line.goals(results, plan(cache_size="16M"))
    assert (players.value, players.low, players.high, players.met) == (1.5, 1, 3, True)
    assert (memory.value, memory.limit, memory.met) == (100, 112, True)


def test_measures_that_take_minutes_come_by_request() -> None:
    by_request = plan(measures=["mpv"])
    assert [plan().wants(name) for name in ("player", "mpv")] == [True, False]
    assert [by_request.wants(name) for name in ("player", "mpv")] == [False, True]


def test_bytes_read_are_counted_in_what_strace_wrote() -> None:
    trace = """\
12 read(3</m/front.mp4>, "\\0"..., 4096) = 4096
12 read(4</m/other.mp4>, "\\0"..., 4096) = 4096
13 read(3</m/front.mp4>,  <unfinished ...>
12 read(3</m/front.mp4>, 0x7f, 4096) = -1 EINTR (Interrupted system call)
13 <... read resumed>"\\0"..., 100) = 100
13 <... read resumed>"\\0"..., 100) = 100
"""
    assert thin_measures.read_of("front.mp4", trace) == 4196


def test_socket_buffers_are_what_is_received_and_not_yet_read() -> None:
    listing = (
        "ESTAB 0 0 10.99.0.1:1 10.99.0.2:2\n\t skmem:(r2304,rb131072,t0,tb87040)\nESTAB\n\t skmem:(r10,rb1)"
    )
    assert thin_measures.buffered(listing) == 2314


def test_a_failure_is_reported_and_the_run_goes_on() -> None:
    results = Results()
    said: list[str] = []

    def fails() -> Numbers:
        raise Failed("WRONG BYTES: a.mp4 at 0")

    line.one(results, "10 Mbit/s", OURS, "seeks", fails, said.append)
    assert said == ["10 Mbit/s, seeks, exportfs: FAILED: WRONG BYTES: a.mp4 at 0"]
    assert "FAILED: exportfs: WRONG BYTES" in line.markdown(results, [(plan(), "by proxy")], 60)


@pytest.mark.mount
def test_a_short_run_through_the_proxy(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    words = [
        "100mbit,2ms",
        "--proxy",
        "--no-peers",
        "--rounds",
        "1",
        "--seconds",
        "0.2",
        "--measure",
        "seeks",
    ]
    assert line.main(words, said.append) == 0, said
    out = capsys.readouterr().out
    assert "| random: sent for each byte |" in out
    assert "through the proxy" in out
