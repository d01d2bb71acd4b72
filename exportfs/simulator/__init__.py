"""The bundled server simulator: an export server with real media, computed big files, faults and a record.

It knows nothing of the rest of exportfs but the generated messages. A test starts one in-process:

    with SimulatorServer(Simulator(Config(), ManualClock())) as server:
        session = server.simulator.add_computed(3 << 30)
        server.simulator.faults.add("DownloadFile", Cut(after_bytes=1 << 20), times=3)
"""

import exportfs.grpc_environment  # noqa: F401 # before gRPC
from exportfs.simulator.api.calls import Call, CallLog
from exportfs.simulator.certificates import Certificates, make_certificates
from exportfs.simulator.clock import Clock, ManualClock, SystemClock
from exportfs.simulator.config import (
    Account,
    Config,
    DownloadConfig,
    ListingConfig,
    LoginConfig,
    MediaConfig,
    TimerConfig,
)
from exportfs.simulator.exports.results import StoredFile, stored
from exportfs.simulator.faults.actions import (
    Action,
    Answer,
    CorruptBlock,
    Cut,
    Delay,
    EndlessPages,
    EndlessStream,
    Fail,
    FailExport,
    Hang,
    LongBlock,
    Overrun,
    RepeatBlock,
    ResetStream,
    RevokeToken,
    ShortBlock,
    SkipBlock,
    Slow,
    Stall,
    SwapBlocks,
    WrongIndex,
)
from exportfs.simulator.faults.proxy import Proxy
from exportfs.simulator.faults.script import Fault, Faults
from exportfs.simulator.media.content import Computed, Content, Held, content
from exportfs.simulator.server import SimulatorServer
from exportfs.simulator.simulator import Simulator

__all__ = [
    "Account",
    "Action",
    "Answer",
    "Call",
    "CallLog",
    "Certificates",
    "Clock",
    "Computed",
    "Config",
    "Content",
    "CorruptBlock",
    "Cut",
    "Delay",
    "DownloadConfig",
    "EndlessPages",
    "EndlessStream",
    "Fail",
    "FailExport",
    "Fault",
    "Faults",
    "Hang",
    "Held",
    "ListingConfig",
    "LoginConfig",
    "LongBlock",
    "ManualClock",
    "MediaConfig",
    "Overrun",
    "Proxy",
    "RepeatBlock",
    "ResetStream",
    "RevokeToken",
    "ShortBlock",
    "Simulator",
    "SimulatorServer",
    "SkipBlock",
    "Slow",
    "Stall",
    "StoredFile",
    "SwapBlocks",
    "SystemClock",
    "TimerConfig",
    "WrongIndex",
    "content",
    "make_certificates",
    "stored",
]
