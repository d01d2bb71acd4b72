"""What the tests of this folder look at trees with."""

import json
from typing import Any

from exportfs.simulator import Simulator
from tests.support.harness import CAMERA, Tree, eventually

LIVE_REQUEST: dict[str, Any] = {"live": {"sources": [{"origin": CAMERA}]}, "stream": {"format": "MKV"}}
"""Of an export that runs until it is stopped."""


def directory(tree: Tree, session_id: str) -> str:
    """The path of a session's directory, as soon as it is there."""
    from exportfs.naming import percent_encode

    link = f"sessions/{percent_encode(session_id)}"

    def target() -> str | None:
        try:
            return f"sessions/{tree.readlink(link)}"
        except FileNotFoundError:
            return None

    return str(eventually(target))


def results(tree: Tree, path: str) -> list[str]:
    """Names of a session's results, in the order of the listing."""
    return [name for name in tree.listdir(path) if not name.startswith(".")]


def record(tree: Tree, path: str) -> dict[str, Any]:
    return dict(json.loads(tree.read(f"{path}/.session.json")))


def exists(tree: Tree, path: str) -> bool:
    try:
        tree.stat(path)
    except FileNotFoundError:
        return False
    return True


LISTINGS = {"ListSessions", "ListCameras", "BatchGetCameras"}
"""Of all sessions, of all cameras, and of many of these at once."""


def calls_but_listings(simulator: Simulator) -> dict[str, int]:
    return {method: count for method, count in simulator.log.counts().items() if method not in LISTINGS}
