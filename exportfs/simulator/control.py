"""Commands to a running simulator, as lines of JSON: for tests that run it as a process of its own."""

import dataclasses
import json
import threading
from collections.abc import Callable
from typing import Any, TextIO

from exportfs.simulator import timestamps
from exportfs.simulator.api.refusal import Refused
from exportfs.simulator.clock import ManualClock
from exportfs.simulator.faults import actions
from exportfs.simulator.faults.script import Fault
from exportfs.simulator.server import SimulatorServer

Command = dict[str, Any]

_ACTIONS: dict[str, type[actions.Action]] = {
    name: one
    for name, one in vars(actions).items()
    if isinstance(one, type)
    and issubclass(one, actions.Action)
    and not name.startswith("_")
    and one is not actions.Action
}


def action_from(command: Command) -> actions.Action:
    """`{"action": "Cut", "after_bytes": 1024, ...}`. Raises ValueError for what is not an action or parameter.

    `Answer` takes `replies` as a list of hexadecimal strings.
    """
    name = command.get("action")
    if name not in _ACTIONS:
        raise ValueError(f"unknown action {name!r}; there are {', '.join(sorted(_ACTIONS))}")
    kind: Any = _ACTIONS[name]
    names = {field.name for field in dataclasses.fields(kind)}
    given = {key: value for key, value in command.items() if key in names}
    if name == "Answer":
        given["replies"] = tuple(bytes.fromhex(one) for one in given.get("replies", ()))
    made: actions.Action = kind(**given)
    return made


class Control:
    """Carries out commands on a server. Each is an object with `do` and its parameters; see the methods."""

    def __init__(self, server: SimulatorServer, quit_now: Callable[[], None]) -> None:
        self._server = server
        self._simulator = server.simulator
        self._quit_now = quit_now
        self._over = False
        self._faults: dict[int, Fault] = {}
        self._commands: dict[str, Callable[[Command], Command]] = {
            "fault": self._fault,
            "remove": self._remove,
            "release": self._release,
            "clear": self._clear,
            "stats": self._stats,
            "calls": self._calls,
            "reset_stats": self._reset_stats,
            "advance": self._advance,
            "add": self._add,
            "add_many": self._add_many,
            "digest": self._digest,
            "sessions": self._sessions,
            "resize": self._resize,
            "record": self._record,
            "times": self._times,
            "destroy": self._destroy,
            "revoke": self._revoke,
            "login": self._login,
            "stop": self._stop,
            "start": self._start,
            "restart": self._restart,
            "quit": self._quit_command,
        }

    def carry_out(self, line: str) -> Command:
        """Gives `{"ok": true, ...}`, or `{"ok": false, "error": ...}`; never raises for a wrong command."""
        try:
            command = json.loads(line)
            if not isinstance(command, dict) or command.get("do") not in self._commands:
                raise ValueError(f"`do` is one of {', '.join(self._commands)}")
            return {"ok": True} | self._commands[command["do"]](command)
        except (ValueError, KeyError, TypeError, RuntimeError, Refused) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def serve(self, commands: TextIO, answers: TextIO, lock: threading.Lock) -> None:
        """Until `commands` ends, or one of them is `quit`; one line of answer for each line."""
        for line in commands:
            if not line.strip():
                continue
            answer = self.carry_out(line)
            with lock:
                print(json.dumps(answer), file=answers, flush=True)
            if self._over:
                # Only now: the process ends with its main thread, whatever this one still has to say.
                self._quit_now()
                return

    def _fault(self, command: Command) -> Command:
        """method, action and its parameters; skip, times (null: without end), session, file -> id."""
        fault = self._simulator.faults.add(
            command["method"],
            action_from(command),
            skip=command.get("skip", 0),
            times=command.get("times", 1),
            session=command.get("session"),
            file=command.get("file"),
        )
        number = len(self._faults) + 1
        self._faults[number] = fault
        return {"id": number}

    def _remove(self, command: Command) -> Command:
        """id -> hits."""
        fault = self._faults[command["id"]]
        self._simulator.faults.remove(fault)
        return {"hits": fault.hits}

    def _release(self, command: Command) -> Command:
        self._simulator.faults.release()
        return {}

    def _clear(self, command: Command) -> Command:
        self._simulator.faults.clear()
        return {}

    def _stats(self, command: Command) -> Command:
        """-> counts by method, bytes_sent, downloads_now, downloads_peak, logins, hits by fault id."""
        log = self._simulator.log
        return {
            "counts": log.counts(),
            "bytes_sent": log.bytes_sent(command.get("file"), command.get("session")),
            "downloads_now": log.downloads_now,
            "downloads_peak": log.downloads_peak,
            "logins": self._simulator.accounts.logins(),
            "hits": {str(number): fault.hits for number, fault in self._faults.items()},
        }

    def _calls(self, command: Command) -> Command:
        """method, session, file -> calls, without tokens."""
        log = self._simulator.log
        shown = (
            "method",
            "session_id",
            "file_id",
            "start_index",
            "chunk_size_kb",
            "bytes_sent",
            "outcome",
            "at",
        )
        calls = log.calls(command.get("method"), command.get("session"), command.get("file"))
        return {"calls": [{name: getattr(call, name) for name in shown} for call in calls]}

    def _reset_stats(self, command: Command) -> Command:
        self._simulator.log.clear()
        return {}

    def _advance(self, command: Command) -> Command:
        """seconds -> now. Wants --manual-clock."""
        clock = self._simulator.clock
        if not isinstance(clock, ManualClock):
            raise ValueError("the clock is the system's; start with --manual-clock")
        clock.advance(float(command["seconds"]))
        return {"now": clock.now()}

    def _add(self, command: Command) -> Command:
        """sizes, names, seed, announced, mime_type, session, succeeded, expires -> session, files."""
        keys = ("names", "seed", "announced", "mime_type", "succeeded", "expires")
        given = {key: command[key] for key in keys if key in command}
        session = self._simulator.add_computed(*command["sizes"], session_id=command.get("session"), **given)
        return {"session": session, "files": [file.path for file in self._simulator.files(session)]}

    def _add_many(self, command: Command) -> Command:
        """count, size -> sessions."""
        return {"sessions": self._simulator.add_many(command["count"], command.get("size", 1 << 20))}

    def _digest(self, command: Command) -> Command:
        """session, file -> size and SHA-256 of what the server holds."""
        size, digest = self._simulator.digest(command["session"], command["file"])
        return {"size": size, "sha256": digest}

    def _sessions(self, command: Command) -> Command:
        """-> sessions, each with its files and their sizes."""
        sessions = self._simulator.sessions
        return {
            "sessions": [
                {"id": one, "files": {file.path: file.content.size for file in sessions.find(one).files}}
                for one in sessions.ids()
            ]
        }

    def _resize(self, command: Command) -> Command:
        """session, file, size, announce."""
        announce = command.get("announce", False)
        self._simulator.resize(command["session"], command["file"], command["size"], announce=announce)
        return {}

    def _record(self, command: Command) -> Command:
        """camera, intervals: [[begin, end], ...] in the server's form, or null for everything."""
        intervals = command["intervals"]
        if intervals is not None:
            intervals = [(timestamps.parse(begin), timestamps.parse(end)) for begin, end in intervals]
        self._simulator.sessions.record(command["camera"], intervals)
        return {}

    def _times(self, command: Command) -> Command:
        """session, file, first, last: what is said of a result's footage."""
        self._simulator.set_times(command["session"], command["file"], command["first"], command["last"])
        return {}

    def _destroy(self, command: Command) -> Command:
        """session."""
        self._simulator.sessions.destroy(command["session"])
        return {}

    def _revoke(self, command: Command) -> Command:
        """All tokens."""
        self._simulator.accounts.revoke()
        return {}

    def _login(self, command: Command) -> Command:
        """code, times, description, reached_connection_limit: what the next logins are answered with."""
        keys = ("times", "description", "reached_connection_limit")
        given = {key: command[key] for key in keys if key in command}
        self._simulator.accounts.script(command["code"], **given)
        return {}

    def _stop(self, command: Command) -> Command:
        """The server is gone, the simulator stays."""
        self._server.stop()
        return {}

    def _start(self, command: Command) -> Command:
        self._server.start()
        return {}

    def _restart(self, command: Command) -> Command:
        """forget_tokens."""
        self._server.restart(forget_tokens=command.get("forget_tokens", False))
        return {}

    def _quit_command(self, command: Command) -> Command:
        self._over = True
        return {}
