"""A request on its way into new/, and what is asked of its outcome."""

import copy
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exportfs.naming import session_name
from exportfs.requests import parse, summarize
from exportfs.simulator import Simulator
from exportfs.wire import export
from tests.support.harness import ARCHIVE_REQUEST, eventually

LIMIT = 30
"""Seconds after which a writer is stuck."""


def request(number: int) -> dict[str, Any]:
    """A request like no other."""
    made = copy.deepcopy(ARCHIVE_REQUEST)
    made["maxFileSize"] = str(10_000_000 + number)
    return made


@dataclass
class Drop:
    simulator: Simulator
    new: Path
    stem: str
    source: Path
    """The request, outside of the mount."""
    counted: int
    """StartSession calls before."""

    @property
    def target(self) -> Path:
        return self.new / f"{self.stem}.json"

    @property
    def content(self) -> bytes:
        return self.source.read_bytes()

    @property
    def calls(self) -> int:
        return self.simulator.log.count("StartSession") - self.counted

    def run(
        self, *command: str | Path, code: int = 0, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Runs a writer to its end."""
        done = subprocess.run(
            command, input=stdin, capture_output=True, timeout=LIMIT, cwd=self.source.parent
        )
        assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
        return done

    def shell(self, script: str, code: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Runs a script in bash with the source as $1 and the target as $2."""
        return self.run("bash", "-euc", script, "bash", self.source, self.target, code=code)

    def check_started(self, *, at_once: bool = True, kept: bool = True) -> None:
        """Exactly one session, linked, and no error anywhere near."""
        link = self.new / self.stem
        if not at_once:
            eventually(lambda: os.path.lexists(link))
        assert self.calls == 1
        options = parse(self.content).options
        (session_id,) = [s for s in self.simulator.sessions.ids() if self._made(s, options)]
        name = session_name(session_id, summarize(options))
        assert os.readlink(link) == f"../sessions/{name}"
        assert link.is_dir()
        if kept:
            assert self.target.read_bytes() == self.content
        self.check_nothing_stray()
        assert self.calls == 1

    def _made(self, session_id: str, options: bytes) -> bool:
        made: export.Options = self.simulator.sessions.find(session_id).options
        return made == export.Options.FromString(options)

    def check_nothing_stray(self) -> None:
        stray = [n for n in os.listdir(self.new) if n.endswith(".error") and self.stem in n]
        assert stray == []
