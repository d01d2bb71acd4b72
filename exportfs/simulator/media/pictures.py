"""Test pictures: each camera has colours and a pattern of its own, and every frame says when it is."""

import hashlib
import math
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from exportfs.simulator import timestamps


def _digest(camera: str) -> bytes:
    return hashlib.sha256(camera.encode("utf-8", "surrogatepass")).digest()


def _colour(digest: bytes, at: int, dark: bool) -> tuple[int, int, int]:
    red, green, blue = (value // 2 + (0 if dark else 128) for value in digest[at : at + 3])
    return red, green, blue


@lru_cache(maxsize=64)
def _background(camera: str, width: int, height: int) -> Image.Image:
    """Stripes, rings or squares in the camera's two dark colours, and its name."""
    digest = _digest(camera)
    one, other = _colour(digest, 0, dark=True), _colour(digest, 3, dark=True)
    picture = Image.new("RGB", (width, height), one)
    draw = ImageDraw.Draw(picture)
    step = max(8, width // (6 + digest[6] % 8))
    if digest[7] % 3 == 0:
        for left in range(-height, width, 2 * step):
            draw.polygon(
                [(left, height), (left + step, height), (left + step + height, 0), (left + height, 0)], other
            )
    elif digest[7] % 3 == 1:
        for radius in range(width, 0, -2 * step):
            box = (width // 2 - radius, height // 2 - radius, width // 2 + radius, height // 2 + radius)
            draw.ellipse(box, outline=other, width=step)
    else:
        for row in range(0, height, step):
            for left in range(row // step % 2 * step, width, 2 * step):
                draw.rectangle((left, row, left + step, row + step), other)
    name = ".".join(camera.removeprefix("hosts/").split("/")[:-1]) or camera
    _write(draw, name[:40], height - height // 12 - 2, height)
    return picture


def _write(draw: ImageDraw.ImageDraw, text: str, top: int, height: int) -> None:
    """A line of text, as large as is fit for a picture of this height."""
    draw.text((4, top), text, "white", _font(max(8, height // 16)), stroke_width=1, stroke_fill="black")


def _write_time(picture: Image.Image, text: str, top: int, height: int) -> None:
    """As `_write`, for what differs from frame to frame: of parts that were drawn before, which takes a tenth."""
    left = 4.0
    # Date, hour and minute; seconds; their fraction.
    for part in (text[:13], text[13:15], text[15:]):
        drawn, advance = _part(part, max(8, height // 16))
        picture.paste(drawn, (round(left) - 1, top - 1), drawn)
        left += advance


@lru_cache(maxsize=256)
def _part(text: str, size: int) -> tuple[Image.Image, float]:
    """With room for its outline, and how far right of its beginning the next one begins."""
    font = _font(size)
    advance = font.getlength(text)
    drawn = Image.new("RGBA", (math.ceil(advance) + 2, 2 * size))
    ImageDraw.Draw(drawn).text((1, 1), text, "white", font, stroke_width=1, stroke_fill="black")
    return drawn, advance


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def one_camera(camera: str, at: float, width: int, height: int) -> Image.Image:
    """The picture of `camera` at `at` (seconds since the epoch): a ball on the camera's own orbit."""
    picture = _background(camera, width, height).copy()
    draw = ImageDraw.Draw(picture)
    digest = _digest(camera)
    angle = at * (0.5 + digest[8] / 256) * math.tau / 4
    radius = max(4, height // 12)
    x = width / 2 + math.cos(angle) * (width / 2 - 2 * radius)
    y = height / 2 + math.sin(angle * (1 + digest[9] % 2)) * (height / 2 - 2 * radius)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), _colour(digest, 10, dark=False), "white")
    _write_time(picture, timestamps.text(at)[:-3], 2, height)
    return picture


def frame(cameras: tuple[str, ...], at: float, width: int, height: int) -> Image.Image:
    """One picture of all `cameras`, in a grid where there are several."""
    if len(cameras) == 1:
        return one_camera(cameras[0], at, width, height)
    columns = math.ceil(math.sqrt(len(cameras)))
    wide, high = width // columns, height // columns
    whole = Image.new("RGB", (width, height))
    for number, camera in enumerate(cameras):
        whole.paste(one_camera(camera, at, wide, high), (number % columns * wide, number // columns * high))
    return whole
