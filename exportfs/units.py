"""Sizes and durations as people read them."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def human_size(size: float) -> str:
    """`1.5 GiB`; below 1 KiB, `512 B`."""
    if size < 1024:
        return f"{size:.0f} B"
    power = 0
    while size >= 1023.95 and power < len(_UNITS):
        size /= 1024
        power += 1
    return f"{size:.1f} {_UNITS[power - 1]}"


def human_duration(seconds: float) -> str:
    """`45s`, `2m 05s`, `1h 05m`, `3d 4h`: the two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"
