"""What somebody meant who typed a command that there is not."""

import difflib
from collections.abc import Iterable

from exportfs.program import PROGRAM

# Words of other programs, and the command that does the same.
_MEANT = {
    "mount": ("attach", "connect", "login", "open"),
    "umount": ("unmount", "eject", "disconnect", "detach", "logout", "close"),
    "status": (
        "ls",
        "list",
        "sessions",
        "info",
        "show",
        "ps",
        "top",
        "watch",
        "progress",
        "mounts",
        "df",
        "jobs",
    ),
    "cameras": ("devices", "sources", "camera", "list-cameras"),
    "footage": ("archive", "archives", "intervals", "recordings", "timeline"),
    "export": ("start", "create", "new", "add", "request", "run", "snapshot", "picture"),
    "fetch": ("get", "pull", "save"),
    "stop": ("cancel", "abort", "kill", "end", "pause"),
    "destroy": ("delete", "del", "rm", "remove", "purge", "clean", "unlink", "erase", "prune"),
    "copy": ("cp", "rsync", "download", "dl", "sync", "backup", "handover", "verify"),
    "wait": ("join", "follow"),
    "doctor": ("check", "test", "diagnose", "debug", "ping", "fsck"),
    "setup": ("install", "uninstall", "init", "configure", "enable"),
    "simulate": ("simulator", "server", "serve"),
    "docs": ("man", "manual", "documentation", "readme"),
    "demo": ("example", "tutorial", "try"),
    "--version": ("version",),
}
_COMMAND_OF = {word: command for command, words in _MEANT.items() for word in words}


def suggestion(word: str, after: str, commands: Iterable[str]) -> str:
    """What to type in place of the unknown command `word`; `after` is the word behind it, or empty."""
    known = list(commands)
    if word.lower() in ("help", "?", "usage"):
        return f"did you mean `{PROGRAM} {f'{after} ' if after in known else ''}--help`?"
    meant = _COMMAND_OF.get(word.lower())
    if meant is None:
        near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.5)
        if not near:
            return "the commands are " + ", ".join(known)
        meant = near[0]
    return f"did you mean `{PROGRAM} {meant}`?"
