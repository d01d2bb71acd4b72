"""How this program is called: on the command line, in messages, in the mount table and in names of files."""

import os
import shlex

PROGRAM = "axxon-exportfs"


def quoted(path: "os.PathLike[str] | str") -> str:
    """A path in a command that a message suggests: as it can be pasted into a shell."""
    return shlex.quote(os.fspath(path))
