"""A long or thin line: the simulator's proxy, with a round trip's delay and, where given, a limit of bandwidth.

    python -m bench.proxy MILLISECONDS PORT... [--host ADDRESS] [--bandwidth BYTES_A_SECOND]

prints a port of its own for each target port, in one line, answers each line on stdin with how many bytes it has
carried, and ends with stdin.
"""

import argparse
import contextlib
import sys

from exportfs.simulator import Proxy


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.proxy")
    parser.add_argument("milliseconds", type=float)
    parser.add_argument("ports", type=int, nargs="+")
    parser.add_argument("--host", default="127.0.0.1", help="where it listens")
    parser.add_argument("--target-host", default="127.0.0.1", help="where the targets listen")
    parser.add_argument(
        "--bandwidth", type=float, help="bytes a second, of each connection in each direction"
    )
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        proxies = [
            stack.enter_context(Proxy(port, given.target_host, host=given.host)) for port in given.ports
        ]
        for proxy in proxies:
            proxy.latency = given.milliseconds / 1000
            proxy.bandwidth = given.bandwidth
        print(*(proxy.port for proxy in proxies), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            for _ in sys.stdin:
                print(sum(proxy.carried for proxy in proxies), flush=True)


if __name__ == "__main__":
    main()
