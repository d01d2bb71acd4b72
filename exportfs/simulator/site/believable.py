"""A site as one might meet it: for the demo, the documents and trials by hand."""

import time

from exportfs.simulator.site.footage import DAY, NOTHING, Recorded
from exportfs.simulator.site.model import Site, SiteArchive, SiteCamera

HOUR = 3600.0


def believable_site(now: float | None = None) -> Site:
    """Fourteen cameras on three nodes, two archives each and embedded storage; footage with gaps.

    `now`: seconds since the epoch, from which the gaps of the last days are counted; None: the system's clock.
    """
    today = (time.time() if now is None else now) // DAY * DAY
    always = Recorded()
    by_day = Recorded(hours=((5 * HOUR, 21 * HOUR),))
    outage = (today - 2 * DAY + 8.2 * HOUR, today - 2 * DAY + 9.45 * HOUR)
    flaky = Recorded(gaps=(outage, (today - DAY + 13 * HOUR, today - DAY + 13.25 * HOUR)))
    stopped = Recorded(until=today - 3 * DAY + 11 * HOUR)
    motion = Recorded(hours=tuple((h * HOUR + 7 * 60, h * HOUR + 19 * 60) for h in range(24)))
    cameras = [
        _camera("Server", 1, "Gate north", always),
        _camera("Server", 2, "Gate south", flaky),
        _camera("Server", 3, "Car park (level -1)", by_day, microphone=True),
        _camera("Server", 4, "Ворота склада", motion),
        _camera("Server", 5, "정문 주차장", always),
        _camera("Server", 6, "Hall A/B, stairs", flaky, comment="Turned towards the lift on 3 March"),
        _camera("Server", 7, "Strong room", always, access=20),
        _camera("Server", 8, "Old entrance", stopped, enabled=False, active=False),
        _camera("NODE2", 1, "Gate north", always),
        _camera("NODE2", 2, "Rampe Süd", by_day),
        _camera("NODE2", 3, "מבוא ראשי", motion),
        _camera("NODE2", 4, "Loading bay + scale", flaky, has_default=False),
        _camera("EDGE7", 1, "Workshop", NOTHING, embedded_only=True),
        _camera("EDGE7", 2, "Roof", stopped, active=False),
    ]
    agents = (
        ("hosts/Server/MMExportAgent.0", "Export agent 1"),
        ("hosts/Server/MMExportAgent.1", "Export agent 2"),
    )
    return Site(tuple(cameras), agents)


def _camera(
    node: str,
    number: int,
    name: str,
    footage: Recorded,
    *,
    access: int = 60,
    enabled: bool = True,
    active: bool = True,
    microphone: bool = False,
    comment: str = "",
    has_default: bool = True,
    embedded_only: bool = False,
) -> SiteCamera:
    device = f"hosts/{node}/DeviceIpint.{number}"
    embedded = SiteArchive(
        f"{device}/MultimediaStorage.0", "Embedded storage", NOTHING, embedded=True, resolvable=False
    )
    recorded = (
        SiteArchive(
            f"hosts/{node}/MultimediaStorage.AliceBlue/MultimediaStorage",
            "AliceBlue",
            footage,
            default=has_default,
        ),
        SiteArchive(
            f"hosts/{node}/MultimediaStorage.Long/MultimediaStorage", "Long term", _of_a_year(footage)
        ),
    )
    return SiteCamera(
        f"{device}/SourceEndpoint.video:0:0",
        name,
        str(number),
        (embedded,) if embedded_only else (embedded, *recorded),
        enabled,
        active,
        access,
        microphone=microphone,
        comment=comment,
        ip_address=f"192.0.2.{number}",
    )


def _of_a_year(footage: Recorded) -> Recorded:
    """The nightly copy of the working hours, kept for longer."""
    return Recorded(
        keep=400 * DAY,
        since=footage.since,
        until=footage.until,
        hours=((8 * HOUR, 18 * HOUR),),
        gaps=footage.gaps,
    )
