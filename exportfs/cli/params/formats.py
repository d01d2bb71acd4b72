"""The formats and qualities of exports, as words to choose from."""

from exportfs.cli.params.choices import Choice
from exportfs.client.request import QUALITIES, SNAPSHOTS, STREAMS

EXPORT_FORMAT = Choice([*STREAMS, *SNAPSHOTS], aliases={"jpeg": "jpg"})
VIDEO_FORMAT = Choice(
    STREAMS,
    aliases={"jpeg": "jpg"},
    hints=dict.fromkeys(SNAPSHOTS, "pictures are exported with `export --format jpg --wait` and `copy`"),
)
QUALITY = Choice(QUALITIES)
