"""Reading results: block cache, running downloads, one reader for each open file.

Sees the server only through the protocols in `source.py`.
"""
