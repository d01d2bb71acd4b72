"""A long line on loopback: the simulator's proxy, with a round trip's delay and no limit of bandwidth.

    python -m bench.proxy MILLISECONDS PORT...

prints a port of its own for each target port, in one line, and ends with stdin.
"""

import contextlib
import sys

from exportfs.simulator import Proxy


def main() -> None:
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(Proxy(int(port))) for port in sys.argv[2:]]
        for proxy in proxies:
            proxy.latency = float(sys.argv[1]) / 1000
        print(*(proxy.port for proxy in proxies), flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            sys.stdin.read()


if __name__ == "__main__":
    main()
