"""Faults by script: which calls, how often, and what happens to them (see `actions`)."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from exportfs.simulator.api.calls import Call, CallLog
from exportfs.simulator.faults.actions import Action


@dataclass(slots=True, eq=False)
class Fault:
    """A rule. A call that matches it in all points is hit, unless it is to be let through."""

    method: str
    """A method's name; `*` is every method."""
    action: Action
    skip: int = 0
    """Matching calls that are let through first."""
    times: int | None = 1
    """Calls hit after that; None: all, until the rule is removed."""
    session: str | None = None
    """Session id of the call; None: any."""
    file: str | None = None
    """File id of a download; None: any."""
    when: Callable[[Call], bool] | None = None
    hits: int = 0
    """Calls hit so far."""

    def takes(self, call: Call) -> bool:
        return (
            self.method in ("*", call.method)
            and (self.session is None or self.session == call.session_id)
            and (self.file is None or self.file == call.file_id)
            and (self.when is None or self.when(call))
        )


class Faults:
    """The rules in force. May be changed from any thread while the server runs."""

    def __init__(self, log: CallLog) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(
        self,
        method: str,
        action: Action,
        *,
        skip: int = 0,
        times: int | None = 1,
        session: str | None = None,
        file: str | None = None,
        when: Callable[[Call], bool] | None = None,
    ) -> Fault:
        """Adds a rule; see `Fault` for the parameters. One call may be hit by several rules."""
        fault = Fault(method, action, skip, times, session, file, when)
        with self._lock:
            self._rules.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """Ends a rule; calls that it holds go on holding until `release`."""
        with self._lock:
            if fault in self._rules:
                self._rules.remove(fault)

    def release(self) -> None:
        """Lets go of every call that is held or delayed, and ends the rules that hold calls for good."""
        with self._lock:
            self._rules = [fault for fault in self._rules if not fault.action.holds]
        for call in self._log.running():
            call.wake()

    def clear(self) -> None:
        """Ends all rules, and lets go of every call."""
        with self._lock:
            self._rules.clear()
        self.release()

    def rules(self) -> list[Fault]:
        with self._lock:
            return list(self._rules)

    def hit(self, call: Call) -> list[Action]:
        """What is to happen to `call`; counts it against the rules."""
        hits = []
        with self._lock:
            for fault in tuple(self._rules):
                if not fault.takes(call):
                    continue
                if fault.skip > 0:
                    fault.skip -= 1
                    continue
                fault.hits += 1
                hits.append(fault.action)
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self._rules.remove(fault)
        return hits
