"""The counts of all workers together, in Prometheus' text format (0.0.4), on a loopback port of their own.

prometheus-client keeps a file for each process that ever counted, and finds out at import whether it should. Here
each worker has a place in memory that they share, and one that takes over a dead one's place counts on.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence

from ..errors import ConfigError
from . import counts
from .shared import Shared

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_MAX_HEAD_BYTES = 8192
_PATIENCE_SECONDS = 10.0

Counts = Sequence[float]


def total(shared: Shared, offset: int, workers: int) -> list[float]:
    """The sum over all workers, place by place."""
    sums = [0.0] * counts.LENGTH
    for slot in range(workers):
        start = offset + slot * counts.SIZE
        with shared.view[start : start + counts.SIZE].cast("d") as cells:
            sums = [have + more for have, more in zip(sums, cells, strict=True)]
    return sums


def exposition(sums: Counts, *, workers_alive: int) -> str:
    return "\n".join(_lines(sums, workers_alive)) + "\n"


def _lines(sums: Counts, workers_alive: int) -> Iterator[str]:
    def part(name: str) -> Counts:
        start, size = counts.PLACES[name]
        return sums[start : start + size]

    yield from _head("backscroll_requests_total", "counter", "MCP requests that were answered.")
    found = iter(part("requests"))
    for method, tool in counts.WORK:
        for outcome in counts.OUTCOMES:
            if value := next(found):
                labels = f'method="{method}",tool="{tool}",outcome="{outcome}"'
                yield f"backscroll_requests_total{{{labels}}} {_number(value)}"
    yield from _head("backscroll_request_duration_seconds", "histogram", "From the first byte to the last one.")
    yield from _histograms(part("seconds"))
    yield from _head("backscroll_http_responses_total", "counter", "HTTP responses, by status.")
    for status, value in zip((*counts.STATUSES, counts.OTHER), part("responses"), strict=True):
        if value:
            yield f'backscroll_http_responses_total{{status="{status}"}} {_number(value)}'
    yield from _head("backscroll_refused_total", "counter", "Requests that were refused before anything was done.")
    for reason, value in zip((*counts.REASONS, counts.OTHER), part("refusals"), strict=True):
        yield f'backscroll_refused_total{{reason="{reason}"}} {_number(value)}'
    yield from _head("backscroll_store_errors_total", "counter", "Errors of the database.")
    for kind, value in zip(counts.STORE_ERRORS, part("store_errors"), strict=True):
        yield f'backscroll_store_errors_total{{kind="{kind}"}} {_number(value)}'
    in_flight, listening = part("gauges")
    yield from _head("backscroll_requests_in_flight", "gauge", "Requests under way, listening ones aside.")
    yield f"backscroll_requests_in_flight {_number(in_flight)}"
    yield from _head("backscroll_listening", "gauge", "Open streams of change notices.")
    yield f"backscroll_listening {_number(listening)}"
    yield from _head("backscroll_workers", "gauge", "Worker processes that are ready.")
    yield f"backscroll_workers {workers_alive}"
    yield from _head("backscroll_worker_starts_total", "counter", "Worker processes that were started.")
    yield f"backscroll_worker_starts_total {_number(part('starts')[0])}"


def _head(name: str, kind: str, told: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} {kind}"


def _histograms(cells: Counts) -> Iterator[str]:
    width = len(counts.BUCKETS) + 2
    for number, (method, tool) in enumerate(counts.WORK):
        own = cells[number * width : (number + 1) * width]
        if not any(own):
            continue
        labels = f'method="{method}",tool="{tool}"'
        below = 0.0
        for bound, value in zip((*counts.BUCKETS, "+Inf"), own, strict=False):
            below += value
            yield f'backscroll_request_duration_seconds_bucket{{{labels},le="{bound}"}} {_number(below)}'
        yield f"backscroll_request_duration_seconds_sum{{{labels}}} {own[-1]:.6f}"
        yield f"backscroll_request_duration_seconds_count{{{labels}}} {_number(below)}"


def _number(value: float) -> str:
    return str(int(value))


async def listening(port: int, text: Callable[[], str]) -> asyncio.Server:
    """Answer `GET /metrics` on 127.0.0.1 with what `text` says. Raises ConfigError where the port is taken."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_response(head, text))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # A client that does not ask properly gets no answer.
        finally:
            writer.close()

    try:
        return await asyncio.start_server(answer, "127.0.0.1", port, limit=_MAX_HEAD_BYTES)
    except OSError as error:
        raise ConfigError(f"Cannot serve metrics on port {port}: {error.strerror}. Choose another one.") from error


def _response(head: bytes, text: Callable[[], str]) -> bytes:
    first, *headers = head.decode("latin-1").lower().split("\r\n")
    host = next((line.partition(":")[2].strip() for line in headers if line.startswith("host:")), "")
    if host.partition(":")[0] not in ("127.0.0.1", "localhost"):
        status, body = "421 Misdirected Request", "Ask 127.0.0.1.\n"
    elif first.split(" ")[:2] != ["get", "/metrics"]:
        status, body = "404 Not Found", "Ask /metrics.\n"
    else:
        status, body = "200 OK", text()
    content = body.encode()
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(content)}\r\n"
        "Connection: close\r\n\r\n"
    ).encode() + content
