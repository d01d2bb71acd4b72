"""Which zones this machine knows, as the C library looks at them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.zones import UnknownZone, check_local_zone

# A version 2 file of a zone that is an hour ahead and has no rules.
TZIF = b"TZif2" + bytes(15) + b"\0\0\0\0" * 4 + b"\0\0\0\1\0\0\0\4" + b"\0\0\x0e\x10\0\0CET\0"
TZIF += TZIF + b"\nCET-1\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Time zone data of one zone."""
    zone = tmp_path / "zoneinfo" / "Europe" / "Berlin"
    zone.parent.mkdir(parents=True)
    zone.write_bytes(TZIF)
    (zone.parent / "Garbage").write_bytes(b"TZif2 and nothing more")
    return tmp_path / "zoneinfo"


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berlin",
        ":Europe/Berlin",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        ":CET-1CEST,M3.5.0,M10.5.0/3",
        "JST-9",
        "UTC0",
        "GMT+5",
        "<+03>-3",
        "<-0330>+3:30",
        "EST5EDT4,M3.2.0/2,M11.1.0/-1:30:00",
        "IST-2IDT,J60/50,J300",
        "NZST-12:00:00NZDT-13,M10.1.0,M3.3.0",
    ],
)
def test_known(zone: str, data: Path) -> None:
    assert check_local_zone({"TZ": zone}, data=data) == zone.removeprefix(":")


@pytest.mark.parametrize(
    "zone",
    [
        "Europe/Berln",
        "europe/berlin",
        "Europe",
        "Europe/",
        "Europe/Garbage",
        "CEST",
        "KST",
        "UTC+",
        "JST-25",
        "XY-1",
        "CET-1CEST,M3.5.0",
        "CET-1CEST,M13.5.0,M10.5.0/3",
        "CET-1CEST,M3.5.0,M10.5.0/3 ",
        " Europe/Berlin",
        "/etc/passwd",
        "../zoneinfo/Nowhere",
        "+02:00",
        "2",
        "a\0b",
        "::Europe/Berlin",
    ],
)
def test_unknown(zone: str, data: Path) -> None:
    with pytest.raises(UnknownZone, match=r"is not a time zone that this machine knows: .*with an offset"):
        check_local_zone({"TZ": zone}, data=data)


def test_summer_time_without_rules(data: Path) -> None:
    """The C library would take those of the United States."""
    with pytest.raises(UnknownZone, match="does not say when CEST begins"):
        check_local_zone({"TZ": "CET-1CEST"}, data=data)


def test_the_nearest_name_is_told() -> None:
    if not Path("/usr/share/zoneinfo/Europe/Berlin").exists():
        pytest.skip("no time zone data here")
    for zone in ("Europe/Berln", "europe/berlin"):
        with pytest.raises(UnknownZone, match="did you mean Europe/Berlin"):
            check_local_zone({"TZ": zone})
    # The nearest abbreviation is another zone.
    with pytest.raises(UnknownZone) as caught:
        check_local_zone({"TZ": "KST"})
    assert "did you mean" not in str(caught.value)


def test_without_data(tmp_path: Path, data: Path) -> None:
    nowhere = tmp_path / "nowhere"
    with pytest.raises(UnknownZone, match=r"no time zone data in .*nowhere: install it \(package tzdata\)"):
        check_local_zone({"TZ": "Europe/Berlin"}, data=nowhere)
    assert check_local_zone({"TZ": "Europe/Berlin", "TZDIR": str(data)}, data=nowhere) == "Europe/Berlin"
    assert check_local_zone({"TZ": str(data / "Europe" / "Berlin")}, data=nowhere)
    assert check_local_zone({"TZ": ""}, data=nowhere) == "UTC, as TZ is empty"
    assert check_local_zone({"TZ": "CET-1"}, data=nowhere) == "CET-1"


def test_of_the_machine(tmp_path: Path, data: Path) -> None:
    localtime = tmp_path / "localtime"
    assert check_local_zone({}, localtime, data) == f"UTC, as {localtime} is not there"
    localtime.symlink_to(data / "Europe" / "Berlin")
    assert check_local_zone({}, localtime, data) == "Europe/Berlin"
    localtime.unlink()
    localtime.write_bytes(TZIF)
    assert check_local_zone({}, localtime, data) == str(localtime)
    for garbage in (b"", b"TZif", b"Europe/Berlin\n"):
        localtime.write_bytes(garbage)
        with pytest.raises(UnknownZone, match="holds no time zone that can be read"):
            check_local_zone({}, localtime, data)
    localtime.unlink()
    localtime.symlink_to("/usr/share/zoneinfo-gone/Europe/Berlin")
    with pytest.raises(
        UnknownZone, match=r"leads to .*Berlin, which is not there: install .* \(package tzdata\)"
    ):
        check_local_zone({}, localtime, data)
    localtime.unlink()
    localtime.symlink_to("/usr/share/zoneinfo-gone/zoneinfo/Etc/UTC")
    assert check_local_zone({}, localtime, data) == "UTC"


@given(st.text())
def test_any_text(zone: str) -> None:
    said = "TZ="
    try:
        check_local_zone({"TZ": zone})
    except UnknownZone as error:
        said = str(error)
    assert "TZ=" in said


ZONES = [
    "Europe/Berlin",
    "Europe/Berln",
    "CEST",
    "KST",
    "JST-9",
    "CET-1CEST,M3.5.0,M10.5.0/3",
    "",
    ":UTC",
    "GMT",
    "X",
    "UTC+",
]


@pytest.mark.skipif(shutil.which("date") is None, reason="no date(1)")
@pytest.mark.parametrize("zone", ZONES)
def test_what_the_c_library_takes_for_utc_is_refused(zone: str) -> None:
    """What passes is what date(1) takes it for; what it would take for UTC in silence does not pass."""
    try:
        check_local_zone({"TZ": zone})
        known = True
    except UnknownZone:
        known = False
    shown = subprocess.run(
        ["date", "-d", "@1778486400", "+%z"],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    assert known or shown == "+0000"
    assert known == (shown != "+0000" or zone in ("", ":UTC", "GMT"))
