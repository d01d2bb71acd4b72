"""A thin line between a mount and its servers, and how many bytes it has carried.

As root, two network namespaces joined by a pair of interfaces, each end shaped by `tc tbf`; distance by netem where the
kernel has it, else by the simulator's proxy at the servers' end. For others the proxy alone, which knows nothing of
packets and limits each connection by itself. A namespace lives as long as the process that holds it, which ends with
its stdin: whatever happens to the benchmark, nothing of it stays.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from bench.processes import Child, Failed, python

FAR, NEAR = "10.99.0.2", "10.99.0.1"
BURST = 16 << 10
"""Bytes that the shaper lets through at once."""
QUEUE_MS = 200
"""What waits in the line's queue at most, as in a router at home."""
_UNITS = {"kbit": 1e3, "mbit": 1e6, "gbit": 1e9}


@dataclass(frozen=True)
class Kind:
    """rate is in bytes a second, round_trip in seconds."""

    rate: float
    round_trip: float = 0.0

    def __str__(self) -> str:
        return f"{self.rate * 8 / 1e6:g} Mbit/s" + (
            f" and {self.round_trip * 1e3:g} ms" if self.round_trip else ""
        )


def kind(text: str) -> Kind:
    """What "10mbit" or "100mbit,20ms" says. Raises ValueError."""
    found = re.fullmatch(r"([0-9.]+)(kbit|mbit|gbit)(?:,([0-9.]+)ms)?", text.lower())
    if found is None:
        raise ValueError(f"not a line: {text!r}; say 10mbit, or 100mbit,20ms")
    return Kind(float(found[1]) * _UNITS[found[2]] / 8, float(found[3] or 0) / 1e3)


class Line(Protocol):
    host: str
    """Where servers listen, and mounts connect unless `port` says otherwise."""

    @property
    def about(self) -> str:
        """What it is made of."""

    def server(self, command: list[str]) -> list[str]:
        """The command, to run at the servers' end."""

    def client(self, command: list[str]) -> list[str]:
        """The command, to run at the mount's end."""

    def reach(self, port: int) -> int:
        """The port under which the mount's end reaches that of a server."""

    def carried(self) -> int:
        """Bytes towards the mount so far; through the proxy alone, both ways."""


@dataclass
class Shaped:
    """Two namespaces, as root."""

    kind: Kind
    work: Path
    stack: contextlib.ExitStack
    host: str = FAR
    _ends: dict[str, int] = field(default_factory=dict)
    _distance_by_proxy: bool = False

    def __post_init__(self) -> None:
        for name in ("near", "far"):
            command = ["unshare", "--net", "sh", "-c", "echo ready; exec cat"]
            holder = Child(command, self.work / f"{name}.log", pipes=True)
            self.stack.callback(holder.stop)
            holder.line()
            self._ends[name] = holder.pid
        run(
            *self._in(
                "near",
                ["ip", "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns"],
                str(self._ends["far"]),
            )
        )
        for name, address in (("near", NEAR), ("far", FAR)):
            run(*self._in(name, ["ip", "link", "set", "lo", "up"]))
            run(*self._in(name, ["ip", "address", "add", f"{address}/24", "dev", "wire"]))
            # Whole packets, as on a real line: not the 64 KiB that the kernel passes to itself.
            run(*self._in(name, ["ip", "link", "set", "wire", "gso_max_segs", "1", "mtu", "1500", "up"]))
            shaper = (
                f"tc qdisc add dev wire root handle 1: tbf rate {self.kind.rate * 8:.0f}bit burst {BURST}"
            )
            run(*self._in(name, [*shaper.split(), "latency", f"{QUEUE_MS}ms"]))
        if self.kind.round_trip:
            self._distance_by_proxy = not self._netem()

    def _netem(self) -> bool:
        half = f"{self.kind.round_trip * 500:g}ms"
        words = [
            "tc",
            "qdisc",
            "add",
            "dev",
            "wire",
            "parent",
            "1:1",
            "netem",
            "delay",
            half,
            "limit",
            "100000",
        ]
        try:
            for name in ("near", "far"):
                run(*self._in(name, words))
        except Failed:
            return False
        return True

    @property
    def about(self) -> str:
        made = f"{self.kind}, tc tbf between two network namespaces, queue {QUEUE_MS} ms"
        return made + (", distance by the proxy: no netem here" if self._distance_by_proxy else "")

    def _in(self, end: str, command: list[str], *more: str) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._ends[end]}/ns/net", *command, *more]

    def server(self, command: list[str]) -> list[str]:
        return self._in("far", command)

    def client(self, command: list[str]) -> list[str]:
        return self._in("near", command)

    def reach(self, port: int) -> int:
        if not self._distance_by_proxy:
            return port
        milliseconds = str(self.kind.round_trip * 1e3)
        command = python("bench.proxy", milliseconds, str(port), "--host", FAR, "--target-host", FAR)
        proxy = Child(self.server(command), self.work / "proxy.log", pipes=True)
        self.stack.callback(proxy.stop)
        return int(proxy.line())

    def carried(self) -> int:
        found = json.loads(run(*self._in("far", ["tc", "-s", "-j", "qdisc", "show", "dev", "wire"])))
        return int(next(one["bytes"] for one in found if one["kind"] == "tbf"))


@dataclass
class Proxied:
    """The proxy alone."""

    kind: Kind
    work: Path
    stack: contextlib.ExitStack
    host: str = "127.0.0.1"
    _proxies: list[Child] = field(default_factory=list)

    @property
    def about(self) -> str:
        made = f"{self.kind} of each connection, through the proxy (not root)"
        return f"{made}: bytes are both ways', without packets' headers"

    def server(self, command: list[str]) -> list[str]:
        return command

    def client(self, command: list[str]) -> list[str]:
        return command

    def reach(self, port: int) -> int:
        milliseconds = str(self.kind.round_trip * 1e3)
        command = python("bench.proxy", milliseconds, str(port), "--bandwidth", str(self.kind.rate))
        proxy = Child(command, self.work / "proxy.log", pipes=True)
        self.stack.callback(proxy.stop)
        self._proxies.append(proxy)
        return int(proxy.line())

    def carried(self) -> int:
        total = 0
        for proxy in self._proxies:
            proxy.say("")
            total += int(proxy.line())
        return total


@contextlib.contextmanager
def thin_line(kind: Kind, work: Path, *, proxied: bool = False) -> Iterator[Line]:
    """`proxied` takes the proxy even as root."""
    with contextlib.ExitStack() as stack:
        tools = all(shutil.which(name) for name in ("tc", "ip", "nsenter", "unshare"))
        if proxied or os.geteuid() or not tools:
            yield Proxied(kind, work, stack)
        else:
            yield Shaped(kind, work, stack)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()[-200:]}")
    return done.stdout
