"""What arrives on a TCP connection, below TLS: told to whoever measures the line, and let gather.

Above TLS it comes in records of 16 KiB and less, at our own pace: a fast line looked thin in them, and a pause for each
let no more than 5 MB/s through.
"""

from typing import Protocol

import trio


class Observer(Protocol):
    """Who measures the line. Times are monotonic seconds, amounts bytes."""

    @property
    def gather(self) -> float:
        """Seconds to let what comes gather before it is taken."""
        ...

    def received(self, now: float, amount: int) -> None: ...


class Arrivals(trio.abc.Stream):
    """The connection, for TLS or HTTP/2 on it. Raises what the connection raises."""

    def __init__(self, tcp: trio.abc.Stream, line: Observer) -> None:
        self._tcp = tcp
        self._line = line
        self._begun = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._begun and (gather := self._line.gather):
            await trio.sleep(gather)
        data = await self._tcp.receive_some(max_bytes)
        self._begun = True
        self._line.received(trio.current_time(), len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._tcp.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._tcp.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._tcp.aclose()
