"""Bars and lines as SVG, by hand: a plotting library would be the largest dependency of the project."""

from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from pathlib import Path

WIDTH, LEFT, RIGHT = 760, 250, 90
STYLE = "font-family='sans-serif' font-size='13' fill='#222'"


@dataclass
class Bar:
    label: str
    value: float
    low: float
    high: float
    color: str


@dataclass
class Curve:
    label: str
    points: list[tuple[float, float]]
    color: str


def _text(x: float, y: float, text: str, anchor: str = "start", more: str = "") -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' {more}>{escape(text)}</text>"


def _line(x1: float, y1: float, x2: float, y2: float, color: str = "#ccc", width: float = 1) -> str:
    position = f"x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}'"
    return f"<line {position} stroke='{color}' stroke-width='{width}'/>"


def _write(path: Path, title: str, height: float, parts: list[str]) -> None:
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' {STYLE}>"
    back = "<rect width='100%' height='100%' fill='white'/>"
    name = _text(12, 24, title, more="font-weight='bold'")
    path.write_text("\n".join([head, back, name, *parts, "</svg>"]) + "\n")


def number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def step(most: float) -> float:
    """A round distance of about four grid lines."""
    rough = most / 4
    power = 10 ** floor(log10(rough))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough))


def bars(path: Path, title: str, unit: str, data: list[Bar], log: bool = False) -> None:
    """Horizontal bars with a whisker from the least to the most."""
    data = [bar for bar in data if bar.value > 0]
    if not data:
        return
    most = max(bar.high for bar in data)
    least = 10 ** floor(log10(min(bar.low for bar in data if bar.low > 0) or 0.1)) if log else 0
    span = WIDTH - LEFT - RIGHT

    def x(value: float) -> float:
        if log:
            return LEFT + span * max(0.0, log10(max(value, least) / least)) / (log10(most / least) or 1)
        return LEFT + span * value / most

    top, row = 44, 28
    bottom = top + row * len(data)
    if log:
        ticks = [10.0**power for power in range(round(log10(least)), ceil(log10(most)) + 1)]
    else:
        ticks = [step(most) * count for count in range(int(most / step(most)) + 1)]
    parts = []
    for tick in (tick for tick in ticks if tick <= most):
        parts += [_line(x(tick), top, x(tick), bottom), _text(x(tick), bottom + 18, f"{tick:g}", "middle")]
    for place, bar in enumerate(data):
        y = top + row * place
        parts += [
            _text(LEFT - 8, y + 18, bar.label, "end"),
            f"<rect x='{LEFT}' y='{y + 5}' width='{x(bar.value) - LEFT:.1f}' height='18'"
            f" fill='{bar.color}'/>",
            _line(x(bar.low), y + 14, x(bar.high), y + 14, "#222", 1.5),
            _text(x(bar.high) + 6, y + 18, number(bar.value)),
        ]
    parts.append(_text(LEFT + span / 2, bottom + 38, unit + (", logarithmic" if log else ""), "middle"))
    _write(path, title, bottom + 50, parts)


def curves(path: Path, title: str, across: str, up: str, data: list[Curve]) -> None:
    """Lines over a doubling axis."""
    data = [curve for curve in data if len(curve.points) > 1]
    if not data:
        return
    left, top, bottom, right = 70, 44, 320, WIDTH - 260
    all_x = sorted({x for curve in data for x, _ in curve.points})
    most = max(y for curve in data for _, y in curve.points)
    width = log10(all_x[-1] / all_x[0])

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return left + (right - left) * log10(point[0] / all_x[0]) / width, bottom - (bottom - top) * point[
            1
        ] / most

    parts = []
    for count in range(int(most / step(most)) + 1):
        y = at((all_x[0], step(most) * count))[1]
        parts += [_line(left, y, right, y), _text(left - 8, y + 4, f"{step(most) * count:g}", "end")]
    parts += [_text(at((x, 0))[0], bottom + 18, f"{x:g}", "middle") for x in all_x]
    for place, curve in enumerate(data):
        points = [at(point) for point in sorted(curve.points)]
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f"<polyline points='{shape}' fill='none' stroke='{curve.color}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='3' fill='{curve.color}'/>" for x, y in points]
        y = top + 20 * place + 8
        parts += [_line(right + 16, y, right + 36, y, curve.color, 3), _text(right + 42, y + 4, curve.label)]
    parts += [_text((left + right) / 2, bottom + 40, across, "middle"), _text(12, top - 4, up)]
    _write(path, title, bottom + 54, parts)
