from collections.abc import Callable

import grpc
import pytest

from exportfs.simulator import Config
from exportfs.wire import export
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import Client, archive, live, snapshot


def _changed(options: export.Options, change: Callable[[export.Options], object]) -> export.Options:
    change(options)
    return options


WRONG = {
    "nothing": export.Options(),
    "no mode": _changed(archive(), lambda o: o.ClearField("archive")),
    "no output type": _changed(archive(), lambda o: o.ClearField("stream")),
    "no sources": _changed(archive(), lambda o: o.archive.ClearField("sources")),
    "no live sources": _changed(live(), lambda o: o.live.ClearField("sources")),
    "unknown camera": archive(9),
    "empty origin": _changed(archive(), lambda o: o.archive.sources[0].ClearField("origin")),
    "unknown archive": _changed(
        archive(), lambda o: o.archive.sources[0].storages.append("hosts/Server/Tape")
    ),
    "no interval": archive(start_timestamp="", end_timestamp=""),
    "no start": archive(start_timestamp=""),
    "no end": archive(end_timestamp=""),
    "end before start": archive(end_timestamp="20260511T075959"),
    "empty interval": archive(end_timestamp="20260511T080000"),
    "RFC 3339": archive(start_timestamp="2026-05-11T08:00:00Z"),
    "no such day": archive(start_timestamp="20260231T080000"),
    "a zone": archive(end_timestamp="20260511T080010Z"),
    "snapshot without start": _changed(snapshot(), lambda o: o.archive.ClearField("start_timestamp")),
    "wrong mask": _changed(archive(), lambda o: o.archive.timeline_mask.add(begin_time="x", end_time="y")),
    "unknown format": _changed(archive(), lambda o: o.stream.MergeFromString(b"\x08\x63")),
    "unknown agent": _changed(
        archive(), lambda o: setattr(o, "export_agent_access_point", "hosts/X/Agent.7")
    ),
    "negative duration": live(seconds=-1),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(client: Client, name: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.start(WRONG[name])
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details()
    assert client.all() == []


def test_the_archive_may_be_named_and_masks_given(client: Client) -> None:
    options = archive()
    options.archive.sources[0].storages.append("hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage")
    options.archive.timeline_mask.add(begin_time="20260511T080001", end_time="20260511T080002.5")
    assert client.start(options)


def test_the_server_may_fill_in_the_agent(make_server: Make, connect: Callable[..., Client]) -> None:
    client = connect(make_server(Config(fills_in_agent=True)))
    client.start(archive())
    [info] = client.all()
    assert info.session.options.export_agent_access_point == "hosts/Server/MMExportAgent.1"


@pytest.mark.parametrize(
    ("agents", "named", "code"),
    [
        (("hosts/Server/MMExportAgent.1",), "", None),
        (("hosts/Server/MMExportAgent.0",), "hosts/Server/MMExportAgent.0", None),
        (("hosts/Server/MMExportAgent.0",), "", grpc.StatusCode.FAILED_PRECONDITION),
        ((), "", grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_agents(
    make_server: Make,
    connect: Callable[..., Client],
    agents: tuple[str, ...],
    named: str,
    code: grpc.StatusCode | None,
) -> None:
    client = connect(make_server(Config(agents=agents)))
    options = archive()
    options.export_agent_access_point = named
    if code is None:
        assert client.start(options)
        return
    with pytest.raises(grpc.RpcError) as caught:
        client.start(options)
    assert caught.value.code() == code
