import io
import zipfile
from collections.abc import Callable

import av
import grpc
import pytest
from PIL import Image

from exportfs.simulator import Config, FailExport, ManualClock, MediaConfig, Simulator, timestamps
from exportfs.simulator.media.content import Held
from exportfs.simulator.site import Recorded, Site, SiteArchive, SiteCamera
from exportfs.wire import export, service
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import CAMERA, COMPLETED, RUNNING, Client, archive, live, snapshot

START = timestamps.parse("20260511T080000")


def _export(
    client: Client, clock: ManualClock, options: export.Options
) -> list[tuple[service.Result.File, bytes]]:
    """All files of a finished export: their messages and bytes."""
    session = client.start(options)
    clock.advance(2)
    state = client.state(session)
    assert state.state == COMPLETED
    assert state.result.succeeded
    files = [(file, client.read(session, file.path)) for file in state.result.files]
    assert all(file.size == len(data) for file, data in files)
    return files


def _frames(data: bytes) -> list[av.VideoFrame]:
    with av.open(io.BytesIO(data), "r") as container:
        return list(container.decode(video=0))


def _codec(data: bytes) -> str:
    with av.open(io.BytesIO(data), "r") as container:
        return container.streams.video[0].codec_context.name


def _grey(frame: av.VideoFrame) -> bytes:
    picture: Image.Image = frame.to_image()
    return picture.convert("L").tobytes()


def _distance(one: av.VideoFrame, other: av.VideoFrame) -> float:
    pairs = zip(_grey(one), _grey(other), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (one.width * one.height)


@pytest.mark.parametrize(
    ("kind", "codec", "mime", "decoder"),
    [
        ("MP4", None, "video/mp4", "h264"),
        ("MP4", "VC_MPEG4", "video/mp4", "mpeg4"),
        ("MKV", None, "video/x-matroska", "h264"),
        ("DEFAULT", None, "video/x-matroska", "h264"),
        ("AVI", None, "video/x-msvideo", "mjpeg"),
        ("AVI", "VC_MPEG4", "video/x-msvideo", "mpeg4"),
        ("AVI", "VC_H264", "video/x-msvideo", "h264"),
        ("MKV", "VC_MJPEG", "video/x-matroska", "mjpeg"),
    ],
)
def test_streams_are_real_video(
    client: Client, clock: ManualClock, kind: str, codec: str | None, mime: str, decoder: str
) -> None:
    options = archive()
    options.stream.CopyFrom(export.StreamType(format=kind))
    if codec is not None:
        options.stream.settings.add(video_codec=codec)
    [(file, data)] = _export(client, clock, options)
    assert file.mime_type == mime
    assert file.min_timestamp == "20260511T080000.000000"
    assert file.max_timestamp == "20260511T080009.800000"
    assert _codec(data) == decoder
    frames = _frames(data)
    assert len(frames) == 50
    # H.264 in AVI begins a frame late: AVI knows no times, only positions.
    assert frames[-1].time - frames[0].time == pytest.approx(9.8, abs=0.05)
    assert _distance(frames[0], frames[12]) > 1


@pytest.mark.parametrize("at_end", [False, True])
def test_where_the_index_of_an_mp4_is(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock, at_end: bool
) -> None:
    client = connect(make_server(Config(media=MediaConfig(moov_at_end=at_end))))
    [(_, data)] = _export(client, clock, archive())
    assert (data.find(b"moov") > data.find(b"mdat")) is at_end
    assert len(_frames(data)) == 50


def test_each_camera_has_a_pattern_of_its_own(client: Client, clock: ManualClock) -> None:
    one, two = (_frames(_export(client, clock, archive(number))[0][1])[0] for number in (1, 2))
    assert _distance(one, two) > 5


def test_snapshots_are_real_pictures(client: Client, clock: ManualClock) -> None:
    [(file, data)] = _export(client, clock, snapshot("JPEG"))
    assert file.mime_type == "image/jpeg"
    assert file.min_timestamp == file.max_timestamp == "20260511T080000.000000"
    with Image.open(io.BytesIO(data)) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("JPEG", (320, 240))
    [(file, same)] = _export(client, clock, snapshot("DEFAULT"))
    assert same == data


def test_a_pdf_holds_the_frame(client: Client, clock: ManualClock) -> None:
    [(file, data)] = _export(client, clock, snapshot("PDF"))
    assert file.mime_type == "application/pdf"
    assert data.startswith(b"%PDF-")
    assert data.rstrip().endswith(b"%%EOF")
    picture = data[data.index(b"\xff\xd8") : data.rindex(b"\xff\xd9") + 2]
    with Image.open(io.BytesIO(picture)) as frame:
        frame.load()
        assert frame.size == (320, 240)


def test_an_exe_is_opaque(client: Client, clock: ManualClock) -> None:
    options = archive()
    options.stream.format = export.StreamType.EFormat.EXE
    [(_file, data)] = _export(client, clock, options)
    assert data.startswith(b"MZ")
    assert len(data) > 20_000


def test_max_file_size_splits_into_playable_files(client: Client, clock: ManualClock) -> None:
    options = archive(seconds=20)
    [(_, whole)] = _export(client, clock, options)
    options.max_file_size = len(whole) // 3
    files = _export(client, clock, options)
    assert len(files) >= 3
    assert all(len(data) <= options.max_file_size for _, data in files)
    assert sum(len(_frames(data)) for _, data in files) == 100
    times = [(file.min_timestamp, file.max_timestamp) for file, _ in files]
    assert times == sorted(times)
    assert len({file.path for file, _ in files}) == len(files)


def test_several_sources_make_one_file_or_one_each(client: Client, clock: ManualClock) -> None:
    [(_, together)] = _export(client, clock, archive(1, 2))
    apart = _export(client, clock, archive(1, 2, discrete=True))
    assert len(apart) == 2
    assert {file.path.split("_")[0] for file, _ in apart} == {"DeviceIpint.1", "DeviceIpint.2"}
    frames = [_frames(data)[0] for data in (together, apart[0][1], apart[1][1])]
    assert _distance(frames[1], frames[2]) > 5
    assert _distance(frames[0], frames[1]) > 1


def test_progress_moves_through_the_interval(client: Client, clock: ManualClock) -> None:
    session = client.start(archive(seconds=10))
    assert len(session) == 49
    assert session.startswith("hosts/Server/")
    seen = []
    for _ in range(3):
        state = client.state(session)
        assert state.state == RUNNING
        assert not state.HasField("result")
        seen.append(timestamps.parse(state.last_frame_timestamp) - START)
        clock.advance(0.5)
    assert seen == pytest.approx([0, 2.5, 5])


def test_a_stopped_archive_export_has_the_footage_so_far(client: Client, clock: ManualClock) -> None:
    session = client.start(archive(seconds=10))
    clock.advance(1)
    state = client.stop(session)
    assert state.state == COMPLETED
    assert state.result.succeeded
    assert len(_frames(client.read(session, state.result.files[0].path))) == 25
    assert client.stop(session) == state


def test_a_stopped_snapshot_has_nothing(client: Client) -> None:
    state = client.stop(client.start(snapshot()))
    assert state.state == COMPLETED
    assert not state.result.succeeded
    assert not state.result.files


def test_live_runs_for_its_duration(client: Client, clock: ManualClock) -> None:
    begin = clock.now()
    session = client.start(live(seconds=8))
    clock.advance(7)
    state = client.state(session)
    assert state.state == RUNNING
    assert timestamps.parse(state.last_frame_timestamp) == begin + 7
    clock.advance(1)
    state = client.state(session)
    assert state.state == COMPLETED
    assert len(_frames(client.read(session, state.result.files[0].path))) == 40


def test_live_without_duration_runs_until_it_is_stopped(
    make_server: Make,
    connect: Callable[..., Client],
    clock: ManualClock,
) -> None:
    client = connect(make_server(Config(media=MediaConfig(max_frames=80))))  # of 800 s
    session = client.start(live(1, 2))
    for _ in range(4):
        clock.advance(200)
        client.login()
        assert client.state(session).state == RUNNING
    state = client.stop(session)
    assert state.state == COMPLETED
    assert state.result.succeeded
    data = client.read(session, state.result.files[0].path)
    with av.open(io.BytesIO(data), "r") as container:
        assert container.duration is not None
        assert container.duration / 1e6 == pytest.approx(800, rel=0.05)


def test_a_live_snapshot_shows_the_moment(client: Client, clock: ManualClock) -> None:
    options = live()
    options.snapshot.format = export.SnapshotType.EFormat.JPEG
    begin = clock.now()
    [(file, _)] = _export(client, clock, options)
    assert timestamps.parse(file.min_timestamp) == begin


@pytest.mark.parametrize("with_files", [False, True])
def test_completed_is_not_succeeded(
    client: Client, simulator: Simulator, clock: ManualClock, with_files: bool
) -> None:
    simulator.faults.add("StartSession", FailExport(with_files=with_files))
    session = client.start(archive())
    clock.advance(2)
    state = client.state(session)
    assert state.state == COMPLETED
    assert not state.result.succeeded
    assert len(state.result.files) == with_files


def test_a_codec_that_cannot_be_is_a_failed_export(clock: ManualClock) -> None:
    simulator = Simulator(Config(media=MediaConfig(width=321, height=241)), clock)
    session = simulator.sessions.start(archive())
    clock.advance(2)
    state = simulator.sessions.state(session)
    assert state.state == COMPLETED
    assert not state.result.succeeded
    simulator.close()


@pytest.mark.parametrize(
    ("style", "check"),
    [
        ("plain", lambda session, path: path == "DeviceIpint.1_20260511T080000.mp4"),
        ("slashes", lambda session, path: path.startswith(session + "/")),
        ("opaque", lambda session, path: len(path) == 32 and "." not in path),
        (("../..\\etc/\n*.mp4",), lambda session, path: path == "../..\\etc/\n*.mp4"),
    ],
)
def test_styles_of_file_ids(
    make_server: Make,
    connect: Callable[..., Client],
    clock: ManualClock,
    style: str | tuple[str, ...],
    check: Callable[[str, str], bool],
) -> None:
    client = connect(make_server(Config(file_ids=style)))
    session = client.start(archive())
    clock.advance(2)
    [file] = client.state(session).result.files
    assert check(session, file.path)
    assert len(client.read(session, file.path)) == file.size


def test_a_file_name_can_be_asked_for(client: Client, clock: ManualClock) -> None:
    """Documented: only where the agent stores the result, or with a directory."""
    options = archive()
    options.settings.add().file_name = "gate"
    [(file, _)] = _export(client, clock, options)
    assert file.path == "DeviceIpint.1_20260511T080000.mp4"
    options.external_directory = "/srv"
    session = client.start(options)
    clock.advance(2)
    assert client.state(session).result.files[0].path == "/srv/gate.mp4"


def _times(file: service.Result.File) -> tuple[float, float]:
    return timestamps.parse(file.min_timestamp) - START, timestamps.parse(file.max_timestamp) - START


@pytest.mark.parametrize(
    ("recorded", "times", "frames"),
    [
        ([(-100, 100)], (0, 59.8), 300),
        ([(-100, 20)], (0, 19.8), 100),
        ([(20, 100)], (20, 59.8), 200),
        ([(10, 20), (40, 50)], (10, 49.8), 100),
    ],
)
def test_an_export_holds_what_was_recorded(
    client: Client,
    clock: ManualClock,
    simulator: Simulator,
    recorded: list[tuple[float, float]],
    times: tuple[float, float],
    frames: int,
) -> None:
    simulator.record(CAMERA.format(1), *((START + begin, START + end) for begin, end in recorded))
    [(file, data)] = _export(client, clock, archive(seconds=60))
    assert _times(file) == pytest.approx(times)
    assert len(_frames(data)) == frames


def test_nothing_recorded_makes_no_file(client: Client, clock: ManualClock, simulator: Simulator) -> None:
    simulator.record(CAMERA.format(1), (START + 1000, START + 2000))
    assert _export(client, clock, archive()) == []
    assert _export(client, clock, snapshot()) == []
    simulator.sessions.record(CAMERA.format(1), None)
    assert len(_export(client, clock, archive())) == 1


def test_discrete_files_hold_what_each_camera_recorded(
    client: Client, clock: ManualClock, simulator: Simulator
) -> None:
    simulator.record(CAMERA.format(2), (START, START + 20))
    options = archive(1, 2, seconds=60)
    options.archive.discrete = True
    first, second = _export(client, clock, options)
    assert _times(first[0])[1] == pytest.approx(59.8)
    assert _times(second[0])[1] == pytest.approx(19.8)


def test_a_site_says_what_was_recorded(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock
) -> None:
    footage = Recorded(until=START - 30)
    camera = SiteCamera(CAMERA.format(1), "Gate", "1", (SiteArchive("hosts/Server/A/M", "A", footage),))
    agents = (("hosts/Server/MMExportAgent.1", "Agent"),)
    client = connect(make_server(Config.of_site(Site((camera,), agents))))
    options = archive()
    options.archive.start_timestamp = timestamps.text(START - 60)
    [(file, _)] = _export(client, clock, options)
    assert _times(file) == pytest.approx((-60, -30.2))


def test_a_clip_begins_at_a_key_frame(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock
) -> None:
    config = Config(
        media=MediaConfig(key_frame_seconds=8), recorded={CAMERA.format(1): ((START - 600, START + 600),)}
    )
    client = connect(make_server(config))
    options = archive()
    options.archive.start_timestamp = timestamps.text(START + 3)
    [(file, _)] = _export(client, clock, options)
    assert _times(file)[0] == 0


def test_a_picture_is_of_the_last_moment_recorded(
    client: Client, clock: ManualClock, simulator: Simulator
) -> None:
    simulator.record(CAMERA.format(1), (START - 600, START - 300))
    [(file, _)] = _export(client, clock, snapshot())
    assert _times(file) == (-300, -300)


def test_time_lapse_is_shorter_than_its_footage(client: Client, clock: ManualClock) -> None:
    options = archive(seconds=60)
    options.stream.settings.add().time_lapse.speed = 10
    [(file, data)] = _export(client, clock, options)
    assert len(_frames(data)) == 30
    assert _times(file) == pytest.approx((0, 58))


def test_areas_and_colours_are_shares(client: Client) -> None:
    options = archive()
    options.settings.add().text_color.red = 1
    options.archive.sources[0].settings.add().crop_area.right = 0.5
    client.start(options)
    options.archive.sources[0].settings.add().crop_area.right = 640
    with pytest.raises(grpc.RpcError) as caught:
        client.start(options)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_password_makes_an_encrypted_zip(client: Client, clock: ManualClock) -> None:
    [(_, plain)] = _export(client, clock, archive())
    options = archive()
    options.stream.settings.add().password = "gehe\u00efm"
    [(file, data)] = _export(client, clock, options)
    assert (file.path, file.mime_type) == ("DeviceIpint.1_20260511T080000.mp4.zip", "application/zip")
    with zipfile.ZipFile(io.BytesIO(data)) as archived:
        [name] = archived.namelist()
        assert name == "DeviceIpint.1_20260511T080000.mp4"
        assert archived.read(name, pwd="gehe\u00efm".encode()) == plain
        with pytest.raises(RuntimeError):
            archived.read(name, pwd=b"another")


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("external_directory", "E:\\evidence", lambda file: file.path.startswith("E:\\evidence\\Device")),
        ("store_result_by_export_agent", True, lambda file: file.path.startswith("C:\\Exports\\")),
        ("cloud_export", True, lambda file: len(file.cloud_id) == 36),
    ],
)
def test_results_kept_elsewhere_cannot_be_downloaded(
    client: Client, clock: ManualClock, field: str, value: object, check: Callable[[object], bool]
) -> None:
    options = archive()
    setattr(options, field, value)
    session = client.start(options)
    clock.advance(2)
    [file] = client.state(session).result.files
    assert check(file)
    with pytest.raises(grpc.RpcError) as caught:
        client.read(session, file.path)
    assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION


def test_the_same_footage_is_made_once(simulator: Simulator, client: Client, clock: ManualClock) -> None:
    sessions = [client.start(archive(seconds=7)) for _ in range(2)]
    clock.advance(2)
    one, two = (simulator.files(session)[0].content for session in sessions)
    assert isinstance(one, Held)
    assert isinstance(two, Held)
    assert one.data is two.data
