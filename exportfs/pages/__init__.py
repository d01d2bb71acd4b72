"""HTML pages that need neither network nor script: templates, and what they are filled with.

Knows nothing of the mount or of the commands: who wants a page hands in plain values and gets bytes.
"""
