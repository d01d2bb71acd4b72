"""gRPC's environment is set before its first import, whichever of our modules is imported first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import exportfs

# In a child for each module that tells something new: import it; what was the environment when gRPC was first imported?
LOOK = """
import contextlib, importlib, json, os, sys

# What they have in common, so that it need not be imported a hundred times.
common = (
    "asyncio", "av", "click.shell_completion", "concurrent.futures", "cryptography.x509",
    "google.protobuf.json_format", "PIL.ImageDraw", "pyfuse3", "rich.live", "rich.table", "tomllib",
)
for name in common if len(sys.argv) > 2 else ():
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
assert "grpc" not in sys.modules

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            words = {key: value for key, value in os.environ.items() if key.startswith("GRPC_")}
            with open(tells, "w") as file:
                json.dump([words, []], file)
            os._exit(0)

sys.meta_path.insert(0, Watch())
seen = {}
for module in sys.argv[1:]:  # parents first
    # A module's packages are imported before it: where one of them came to gRPC's import, all of its modules do.
    parent = module.rpartition(".")[0]
    if seen.get(parent) is not None:
        seen[module] = seen[parent]
    if module in seen:
        continue
    told, tells = os.pipe()
    if os.fork() == 0:
        importlib.import_module(module)
        # It needs no gRPC, and so does whatever it has imported.
        with open(tells, "w") as file:
            json.dump([None, list(sys.modules)], file)
        os._exit(0)
    os.close(tells)
    with open(told) as file:
        answer = file.read()
    if os.wait()[1]:
        sys.exit(f"{module} cannot be imported")
    seen[module], without = json.loads(answer)
    seen.update(dict.fromkeys(without))
print(json.dumps({module: seen[module] for module in sys.argv[1:]}))
"""
ROOT = Path(exportfs.__file__).parent.parent


def modules() -> list[str]:
    """All of ours but the ones that run when they are imported."""
    paths = [path for room in ("exportfs", "bench") for path in (ROOT / room).rglob("*.py")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    names = [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]
    return sorted(names, key=lambda name: (name.count("."), name))


def look(names: list[str], **variables: str) -> dict[str, dict[str, str] | None]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRPC_")}
    result = subprocess.run(
        [sys.executable, "-c", LOOK, *names],
        cwd=ROOT,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    seen: dict[str, dict[str, str] | None] = json.loads(result.stdout)
    return seen


@pytest.mark.slow
def test_each_module_first() -> None:
    seen = look(modules())
    assert set(seen) == set(modules())
    with_grpc = {name for name, words in seen.items() if words is not None}
    assert {
        "exportfs.wire",
        "exportfs.rpc.channel",
        "exportfs.app",
        "exportfs.simulator",
        "bench.bare",
    } <= with_grpc
    expected = {
        "GRPC_ENABLE_FORK_SUPPORT": "0",
        "GRPC_VERBOSITY": "NONE",
        "GRPC_DNS_RESOLVER": "native",
    }
    assert {name: seen[name] for name in with_grpc} == dict.fromkeys(with_grpc, expected)


@pytest.mark.parametrize("name", ["exportfs.wire", "exportfs.rpc.channel", "exportfs.simulator"])
def test_what_the_user_gave(name: str) -> None:
    """Wishes for debugging hold; fork support breaks mounting and is never on."""
    given = {"GRPC_ENABLE_FORK_SUPPORT": "1", "GRPC_VERBOSITY": "DEBUG", "GRPC_TRACE": "http"}
    words = look([name], **given)[name]
    assert words is not None
    assert words == {**given, "GRPC_ENABLE_FORK_SUPPORT": "0", "GRPC_DNS_RESOLVER": "native"}
