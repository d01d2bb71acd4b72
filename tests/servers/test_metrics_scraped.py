"""`.metrics` over HTTP, as docs/metrics.md says: through nginx, in a form that Prometheus takes for OpenMetrics."""

import re
import subprocess
from pathlib import Path

import pytest
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exportfs.simulator import SimulatorServer
from tests.servers.conftest import needed
from tests.servers.fronts import Nginx
from tests.support.harness import MountProcess

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


@pytest.mark.mount
@pytest.mark.promise("T18")
def test_nginx_serves_it(mount: MountProcess, server: SimulatorServer, tmp_path: Path) -> None:
    needed(Nginx)
    (location,) = re.findall(r"^```\n(location .*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = location.replace("/srv/footage", str(mount.mountpoint)).replace("192.0.2.7", "127.0.0.1")
    with Nginx(server, tmp_path, http=lines) as nginx:
        address = f"http://{nginx.address}/metrics"
        # The front speaks nothing but HTTP/2.
        command = ["curl", "-sSf", "--http2-prior-knowledge", "-w", "%{content_type}", address]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text, end, kind = answer.rpartition("# EOF\n")
    assert kind == CONTENT_TYPE_LATEST
    names = {family.name for family in text_string_to_metric_families(text + end)}
    assert "axxon_exportfs_build_info" in names
