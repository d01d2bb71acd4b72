"""`mount` writes nothing to standard error when it succeeds, and one line when it fails, whatever the reason."""

import os
import subprocess
from pathlib import Path

import pytest

from exportfs.simulator import (
    Certificates,
    Config,
    LoginConfig,
    Simulator,
    SimulatorServer,
    make_certificates,
)
from tests.support import prepared
from tests.support.harness import OURS, is_mounted
from tests.support.namespace import without_copies
from tests.support.ports import reserved

pytestmark = pytest.mark.mount


def certificates(folder: Path, *, expired: bool = False) -> Certificates:
    folder.mkdir()
    return make_certificates(folder, expired=expired)


def run(folder: Path, *words: str, fresh: bool = True) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state")}
    if not fresh and prepared.shared().serves(environment):
        return prepared.shared().run(list(words), environment, timeout=60)
    return subprocess.run(
        [*OURS, *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment,
    )


@pytest.mark.promise("C1")
def test_success_is_silent(tmp_path: Path) -> None:
    """In the background, over TLS: mounting, unmounting and all in between."""
    place = tmp_path / "mnt"
    place.mkdir()
    tls = certificates(tmp_path / "tls")
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator, tls=tls) as server:
        options = ("--ca-file", str(tls.ca_file), "--tls-server-name", tls.name)
        for words in (
            ("mount", server.address, str(place), *options),
            ("umount", str(place)),
        ):
            result = run(tmp_path, *words)
            assert (result.returncode, result.stdout, without_copies(result.stderr)) == (0, "", "")
    simulator.close()
    assert not is_mounted(place)


@pytest.mark.promise("C1")
@pytest.mark.parametrize(
    "fault", ["wrong-ca", "system-ca", "expired", "wrong-name", "plaintext", "tls", "nobody", "name"]
)
def test_failure_is_one_line(tmp_path: Path, fault: str) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    tls = certificates(tmp_path / "tls", expired=fault == "expired")
    other = certificates(tmp_path / "other")
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator, tls=None if fault == "plaintext" else tls) as server, reserved() as free:
        address = server.address
        options = ["--ca-file", str(tls.ca_file), "--tls-server-name", tls.name]
        if fault == "wrong-ca":
            options[1] = str(other.ca_file)
        elif fault == "system-ca":
            options = options[2:]
        elif fault == "wrong-name":
            options = options[:2]
        elif fault == "tls":
            options = ["--insecure"]
        elif fault == "nobody":
            address = f"127.0.0.1:{free}"
        elif fault == "name":
            address = "no-such-host.invalid"
        # What an interpreter and its imports say of themselves, one of these and the test above would show.
        words = ("mount", address, str(place), "--timeout", "4", *options)
        result = run(tmp_path, *words, fresh=fault == "wrong-ca")
        assert result.returncode == 1
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1, result.stderr
        assert result.stderr.startswith("axxon-exportfs: ")
        assert not is_mounted(place)
    simulator.close()
