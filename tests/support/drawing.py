"""Drawing at random without hypothesis: another seed each time, told where a test fails."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager

SEED = "EXPORTFS_SEED"
"""The environment variable that makes a test draw what it drew before."""


@contextmanager
def drawing() -> Iterator[random.Random]:
    """What fails with what is drawn from this says how to repeat it."""
    # Not of the module's own generator, which hypothesis may have seeded.
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(1, 2**32))
    try:
        yield random.Random(seed)
    except BaseException as error:
        error.add_note(f"{SEED}={seed} repeats it")
        raise
