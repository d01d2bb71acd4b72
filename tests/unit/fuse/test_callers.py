"""Who is told that there is no ACL, and not that there are none at all."""

import os
import shutil
import subprocess
from pathlib import Path

from exportfs.fuse.callers import expects_acls


def test_only_the_program_that_needs_it(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/sleep", tmp_path / "ganesha.nfsd"))
    with subprocess.Popen([program, "100"]) as process:
        try:
            assert expects_acls(process.pid)
        finally:
            process.kill()
    assert not expects_acls(os.getpid())
    assert not expects_acls(0)
    assert not expects_acls(process.pid)
