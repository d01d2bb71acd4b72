"""Renders the mount's numbers in the OpenMetrics text format, with `prometheus_client`: the one module that knows it.

Families are made at each reading, by a collector in a registry of its own; the library's global registry and its
collectors of the process are not used. Types are those that node exporter's older parser knows as well: no `info`, no
`stateset`. What each metric means stands in docs/metrics.md, which a test compares with METRICS.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics.exposition import ALLOWUTF8, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

import exportfs
from exportfs import record
from exportfs.metrics import BUCKETS
from exportfs.naming import readable
from exportfs.vfs.metrics.sources import Sources
from exportfs.vfs.sessions import records

PREFIX = "axxon_exportfs_"
UNITS = ("bytes", "seconds")
STATES = (record.RUNNING, record.COMPLETED, record.FAILED, record.STOPPED)

OPERATIONS = ("create", "flush", "open", "read", "readdir", "rename", "unlink", "write")
"""Those whose errors users notice; others appear with their first error."""

Number = int | float
Values = Mapping[tuple[str, ...], Number]
"""Numbers by the values of the labels."""


@dataclass(frozen=True, slots=True)
class Family:
    """A metric: its name without PREFIX (and without a counter's `_total`), and what it says."""

    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    help: str
    values: Callable[[Sources], Number | Values | None]
    labels: tuple[str, ...] = ()
    """Besides `mountpoint`, which all have: several mounts of one machine are told apart by it."""


def _counter(help: str, values: Callable[[Sources], Number | Values | None], *labels: str) -> Family:
    return Family(CounterMetricFamily, help, values, labels)


def _gauge(help: str, values: Callable[[Sources], Number | Values | None], *labels: str) -> Family:
    return Family(GaugeMetricFamily, help, values, labels)


def _sessions(sources: Sources) -> Values:
    context = sources.context
    found = Counter(records.state_word(context, entry.session) for entry in context.catalogue)
    return {(state,): found[state] for state in STATES}


def _kept(sources: Sources) -> int:
    keeper = sources.context.keeper
    return sum(keeper.kept(entry.id) for entry in keeper.known())


def _retries(sources: Sources) -> Values:
    library = sources.context.library
    retries: dict[tuple[str, ...], Number] = {("DownloadFile",): library.retries}
    retries.update({(method,): number for method, number in sources.calls.retries.items()})
    return retries


def _operation_errors(sources: Sources) -> Values:
    # From the start: where the first error brings the series, Prometheus sees no increase.
    return {
        (name,): number for name, number in (dict.fromkeys(OPERATIONS, 0) | sources.activity.errors).items()
    }


def _logged_in(sources: Sources) -> int | None:
    login = sources.login()
    return None if login is None else int(login.valid)


def _login_age(sources: Sources) -> float | None:
    login = sources.login()
    return None if login is None else login.age


def _login_failures(sources: Sources) -> int | None:
    login = sources.login()
    return None if login is None else login.failures


METRICS: dict[str, Family] = {
    "build_info": _gauge(
        "Always 1; the labels say what is mounted, and by which version.",
        lambda s: {(exportfs.__version__, s.server): 1},
        "version",
        "server",
    ),
    "start_time_seconds": _gauge(
        "When it was mounted, in seconds since 1970.", lambda s: s.context.mounted_at
    ),
    "read_bytes": _counter("Bytes of results sent to readers.", lambda s: s.context.library.bytes_read),
    "fetched_bytes": _counter(
        "Bytes of results fetched from the server.", lambda s: s.context.library.bytes_fetched
    ),
    "cache_hits": _counter("Reads of results answered from memory.", lambda s: s.context.library.cache.hits),
    "cache_misses": _counter(
        "Reads of results that waited for the server.", lambda s: s.context.library.cache.misses
    ),
    "cache_used_bytes": _gauge("Bytes in the block cache.", lambda s: s.context.library.cache.used),
    "cache_size_bytes": _gauge(
        "Bytes that the block cache may hold.", lambda s: s.context.library.cache.capacity
    ),
    "downloads_running": _gauge("Downloads under way.", lambda s: s.context.library.scheduler.running),
    "downloads_waiting": _gauge(
        "Downloads that wait for a slot.", lambda s: s.context.library.scheduler.waiting
    ),
    "downloads_limit": _gauge("Downloads that may run at once.", lambda s: s.context.library.scheduler.limit),
    "retries": _counter("Calls to the server made once more after a failure.", _retries, "method"),
    "server_reachable": _gauge(
        "1 if the last listing of sessions succeeded, else 0.",
        lambda s: int(s.context.catalogue.error is None),
    ),
    "sessions": _gauge("Sessions on the server, whoever started them.", _sessions, "state"),
    "sessions_kept": _gauge("Sessions that this mount keeps alive.", _kept),
    "keepalive_polls": _counter("Keep-alive polls that have ended.", lambda s: s.context.keeper.polls.ended),
    "keepalive_poll_failures": _counter(
        "Keep-alive polls without an answer.", lambda s: s.context.keeper.polls.failed
    ),
    "keepalive_failing_sessions": _gauge(
        "Sessions to be kept alive whose last poll failed.", lambda s: s.context.keeper.failing
    ),
    "requests": _counter(
        "Requests in new/, by what became of them.",
        lambda s: {(outcome.value,): number for outcome, number in s.context.requests.outcomes.items()},
        "outcome",
    ),
    "logged_in": _gauge("1 while there is a login that has not expired, else 0.", _logged_in),
    "login_age_seconds": _gauge("Seconds since the login was made or renewed.", _login_age),
    "login_failures": _counter("Logins and renewals that failed.", _login_failures),
    "journal_write_failures": _counter(
        "Writes to the journal of started exports that failed.", lambda s: s.context.journal.write_failures
    ),
    "journal_unwritten": _gauge(
        "Changes that wait to be written to the journal.", lambda s: s.context.journal.unwritten
    ),
    "operations_running": _gauge(
        "Calls into the mount under way, the reading of this among them.",
        lambda s: len(s.activity.operations),
    ),
    "operation_errors": _counter(
        "Calls into the mount that failed, other than by asking for what is not there.",
        _operation_errors,
        "operation",
    ),
    "log_lines_dropped": _counter(
        "Log lines that were dropped because the log was blocked.", lambda s: s.log_lines_dropped()
    ),
}
CALLS = "call_duration_seconds"
CALLS_HELP = "How long calls to the server took, by method and the gRPC status that they ended with."


class MountCollector(Collector):
    """Makes the families anew each time it is asked."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._mountpoint = readable(str(sources.context.mountpoint))

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        for name, family in METRICS.items():
            yield self._family(PREFIX + name, family)
        yield self._calls()

    def _family(self, name: str, family: Family) -> Metric:
        last_word = name.rpartition("_")[2]
        unit = last_word if last_word in UNITS else ""
        made = family.kind(name, family.help, labels=("mountpoint", *family.labels), unit=unit)
        values = family.values(self._sources)
        if values is None:
            return made
        by_labels = values if isinstance(values, Mapping) else {(): values}
        for labels, value in sorted(by_labels.items()):
            made.add_metric((self._mountpoint, *labels), value)
        return made

    def _calls(self) -> Metric:
        made = HistogramMetricFamily(
            PREFIX + CALLS, CALLS_HELP, labels=("mountpoint", "method", "code"), unit="seconds"
        )
        bounds = [*map(floatToGoString, BUCKETS), "+Inf"]
        for (method, code), durations in sorted(self._sources.calls.durations.items()):
            buckets = list(zip(bounds, durations.cumulative(), strict=True))
            made.add_metric((self._mountpoint, method, code), buckets, durations.seconds)
        return made


def renderer(sources: Sources) -> Callable[[], bytes]:
    """Gives the text, as it is each time."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MountCollector(sources))
    # All our names are plain; the escaping that has nothing to look for in them takes half the time.
    return partial(generate_latest, registry, escaping=ALLOWUTF8)
