"""exportfs: the exports of an Axxon One server as a folder."""

__version__ = "0.1.0"
