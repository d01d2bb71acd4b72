"""Commands run in this process see nothing of this machine."""

from tests.support.commands import mount, run, surroundings, time, waited

__all__ = ["mount", "run", "surroundings", "time", "waited"]
