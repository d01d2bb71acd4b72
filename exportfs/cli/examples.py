"""Examples of each command, for `--help`, the man page and docs/options.md. A test parses every one."""

from exportfs.program import PROGRAM

_GATE = "'1.Gate north'"
_SESSION = "20260511T080411Z_Server.DeviceIpint.1_mp4_k3v9x2ma"

# What it is for, and the words behind the program's name.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "mount": (
        (
            "Mount a server; the password is asked for",
            "mount vms.example.org ~/vms --user analyst --ca-file ca.pem",
        ),
        (
            "Mount a profile of the configuration, changing nothing on the server",
            "mount hq ~/vms --read-only",
        ),
    ),
    "umount": (
        ("End the only mount", "umount"),
        ("End this one, even if a program still uses it", "umount ~/vms --lazy"),
    ),
    "status": (
        ("Everything, once", "status"),
        ("Follow running exports", "status --watch"),
        ("For scripts", "status ~/vms --json"),
    ),
    "cameras": (
        ("All cameras", "cameras"),
        ("Some of them, of one of several mounts", "cameras ~/vms 'gate*'"),
    ),
    "footage": (
        ("All footage of a camera", f"footage {_GATE}"),
        (
            "One night, to the millisecond",
            f"footage {_GATE} --from 'yesterday 22:00' --to 'today 06:00' --exact",
        ),
    ),
    "export": (
        (
            "Ten minutes of a camera; prints the results once they are there",
            f"export --camera {_GATE} --from '2026-05-11 10:04' --duration 10m --format mp4 --wait",
        ),
        ("A picture", f"export --camera {_GATE} --from 'yesterday 10:04:11' --format jpg"),
        (
            "Show the request and start nothing",
            f"export --camera {_GATE} --duration 30s --format mkv --dry-run",
        ),
    ),
    "fetch": (
        (
            "Export ten minutes and copy them, with hashes; repeat it after an interruption",
            f"fetch {_GATE} /media/usb/case-4711 --from '2026-05-11 10:04' --duration 10m",
        ),
    ),
    "wait": (
        ("Until a session has ended", f"wait {_SESSION}"),
        ("Until all of a mount's have, for an hour at most", "wait ~/vms/sessions/* --timeout 1h"),
    ),
    "stop": (("Stop an export and keep what it has so far", f"stop {_SESSION}"),),
    "destroy": (("Delete a session and its results on the server, for everybody", f"destroy {_SESSION}"),),
    "copy": (
        ("Copy a session's results", f"copy {_SESSION} /media/usb/case-4711"),
        ("Copy those of all sessions of a day", "copy ~/vms/sessions/20260511T* /media/usb/case-4711"),
    ),
    "doctor": (
        ("This machine", "doctor"),
        ("A server, too", "doctor vms.example.org --user analyst --ca-file ca.pem"),
    ),
    "setup": (
        ("Show what would be installed", "setup --dry-run"),
        ("Remove what was installed for yourself", "setup --user --undo"),
    ),
    "docs": (
        ("Which documents there are, and where", "docs"),
        ("Read one", "docs getting-started"),
    ),
    "simulate": (("A server to practise with, and its address", "simulate"),),
    "demo": (("See it work, with a simulated server", "demo"),),
}


FIRST_STEPS = "\n".join(
    [
        "\b",
        "First steps:",
        f"  {PROGRAM} demo                   # see it work, without a server",
        f"  {PROGRAM} docs getting-started   # the documents",
        f"  {PROGRAM} COMMAND --help         # options and examples of a command",
    ]
)
"""For the help of the program itself."""


def lines(command: str) -> list[tuple[str, str]]:
    """Each example of a command: what it is for, and the whole command line."""
    return [(purpose, f"{PROGRAM} {words}") for purpose, words in EXAMPLES.get(command, ())]


def epilog(command: str) -> str:
    """For `--help`: not wrapped, so that lines can be pasted."""
    shown = [text for purpose, line in lines(command) for text in (f"  # {purpose}", f"  {line}")]
    return "\n".join(["\b", "Examples:", *shown]) if shown else ""
