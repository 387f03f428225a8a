"""A load client that hides nothing: what fails while a site is being changed is a line in a file.

    python tests/load/load.py run URL --rate 200 --seconds 60 --out DIR [--expect-zero]
    python tests/load/load.py check URL --rows DIR/rows.txt

`--at ADDRESS` goes there whatever the URL's name is, and takes any certificate; `--follow` goes
where a redirect leads, as a browser does, and sends no uploads, which can't be sent twice.

`run` sends requests to the app in tests/apps/numbers (or `--app example`, in app) on a schedule,
whether or not those before have been answered, until the seconds are over, the file DIR/stop
appears, or SIGTERM or SIGINT comes. It leaves behind

    DIR/summary.json    the numbers, which it also prints;
    DIR/failures.jsonl  a line for each request that did not get the answer it should have got;
    DIR/rows.txt        the keys of the rows that the site has acknowledged.

`check` says whether the site still has each of these rows. Only that, and `--expect-zero`, make
the exit code tell about the site: 1 when something was lost. 2 is always the client's own trouble.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import hashlib
import itertools
import json
import math
import random
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

# How many of a hundred requests are of which kind. The names with _new open a connection each.
MIX = {"get": 60, "get_new": 12, "post": 15, "post_new": 10, "slow": 2, "upload": 1}
# Those that the example has something for.
CATS_MIX = {kind: MIX[kind] for kind in ("get", "get_new", "post", "post_new")}
REQUEST_SECONDS = 60
SLOW_SECONDS = 2
UPLOAD = random.Random(0).randbytes(64 * 1024)  # noqa: S311 (the same bytes every time)
UPLOAD_SHA256 = hashlib.sha256(UPLOAD).hexdigest()
UPLOAD_PIECES = 32
UPLOAD_SECONDS = 2.0
# A close that crossed the request on its way is seen within a round trip. What breaks later was
# being worked on.
CROSSING_SECONDS = 0.5


class WrongAnswerError(Exception):
    """The answer came, and is not the one it should be."""


@dataclass
class Settings:
    """What to do to whom."""

    url: str
    out: Path
    rate: float
    seconds: float
    mix: dict[str, int] = field(default_factory=lambda: dict(MIX))
    prefix: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    max_open: int = 2000
    at: str = ""
    follow: bool = False


@dataclass
class Request:
    """One request on its way; aiohttp's traces get it too."""

    kind: str
    due: float
    began: float = 0.0
    reused: bool = False
    answered: bool = False


class Load:
    """One run."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        settings.out.mkdir(parents=True, exist_ok=True)
        self.stop_file = settings.out / "stop"
        for name in ("stop", "summary.json"):  # of a run before
            (settings.out / name).unlink(missing_ok=True)
        self.stop = asyncio.Event()
        self.tasks: dict[asyncio.Task[None], Request] = {}
        self.counter = itertools.count(1)
        self.requests = self.failed = self.idle_closed = self.rows = 0
        self.late = 0.0
        self.releases: dict[str, list[float]] = {}
        self.latencies: dict[str, list[float]] = {kind: [] for kind in settings.mix}
        self.calls: dict[str, Callable[[Request], Any]] = {
            "get": lambda request: self.get(request, self.kept),
            "get_new": lambda request: self.get(request, self.fresh),
            "post": lambda request: self.post(request, self.kept),
            "post_new": lambda request: self.post(request, self.fresh),
            "slow": self.slow,
            "upload": self.upload,
        }

    async def run(self) -> dict[str, Any]:
        """Send the requests, wait for their answers, and return the summary."""
        loop = asyncio.get_running_loop()
        self.cpu = time.process_time()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        async with AsyncExitStack() as stack:
            enter = stack.enter_context
            self.rows_file = enter((self.settings.out / "rows.txt").open("w", buffering=1))
            self.failures = enter((self.settings.out / "failures.jsonl").open("w", buffering=1))
            self.kept = await stack.enter_async_context(session(keep=True, at=self.settings.at))
            self.fresh = await stack.enter_async_context(session(keep=False, at=self.settings.at))
            self.start = loop.time()
            schedule = asyncio.create_task(self.schedule())
            watch = asyncio.create_task(self.watch())
            await asyncio.wait(
                {schedule, watch},
                timeout=self.settings.seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            seconds = loop.time() - self.start
            if schedule.done():
                schedule.result()  # raises what ended it, a full disk for one
            schedule.cancel()
            watch.cancel()
            await self.drain()
        return self.summary(seconds)

    async def schedule(self) -> None:
        """Start each request when it is due, whatever became of those before."""
        loop = asyncio.get_running_loop()
        kinds = cycle(self.settings.mix)
        for number in range(math.ceil(self.settings.rate * self.settings.seconds)):
            request = Request(next(kinds), self.start + number / self.settings.rate)
            delay = request.due - loop.time()
            if delay > 0:
                await asyncio.sleep(delay)
            self.requests += 1
            if len(self.tasks) >= self.settings.max_open:
                request.began = loop.time()
                self.fail(request, "client saturated")
                # Others get their turn, or this would be a loop without any.
                await asyncio.sleep(0)
                continue
            task = asyncio.create_task(self.one(request))
            self.tasks[task] = request
            task.add_done_callback(self.tasks.pop)

    async def watch(self) -> None:
        """Return when somebody wants the run to end."""
        while not self.stop.is_set() and not self.stop_file.exists():
            await asyncio.sleep(0.1)

    async def drain(self) -> None:
        """Wait for the requests that run, and count those that never end as failed."""
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=REQUEST_SECONDS)
        left = dict(self.tasks)
        for task, request in left.items():
            self.fail(request, f"not answered {REQUEST_SECONDS} s after the end of the run")
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def one(self, request: Request) -> None:
        """Send a request and note what came of it."""
        loop = asyncio.get_running_loop()
        request.began = loop.time()
        self.late = max(self.late, request.began - request.due)
        try:
            await self.calls[request.kind](request)
        except WrongAnswerError as error:
            self.fail(request, str(error))
        except Exception as error:
            idle = request.reused and not request.answered and hung_up(error)
            idle = idle and loop.time() - request.began < CROSSING_SECONDS
            self.fail(request, f"{type(error).__name__}: {error}", idle=idle)
        else:
            self.latencies[request.kind].append(loop.time() - request.began)

    def fail(self, request: Request, what: str, *, idle: bool = False) -> None:
        """Write down a failure."""
        if idle:
            self.idle_closed += 1
        else:
            self.failed += 1
        now = asyncio.get_running_loop().time()
        line = {
            "time": iso(time.time()),
            "seconds": round(now - self.start, 3),
            "kind": request.kind,
            "what": what,
            "reused": request.reused,
            "took_ms": round((now - request.began) * 1000, 1),
        }
        self.failures.write(json.dumps(line | ({"idle_closed": True} if idle else {})) + "\n")

    async def ask(
        self, request: Request, at: aiohttp.ClientSession, method: str, path: str, **more: Any
    ) -> Any:
        """Return the JSON of the answer; raise WrongAnswerError when there is none."""
        async with at.request(
            method,
            self.settings.url + path,
            allow_redirects=self.settings.follow,
            trace_request_ctx=request,
            **more,
        ) as response:
            request.answered = True
            body = await response.read()
            if response.status != 200:
                text = " ".join(body[:200].decode(errors="replace").split())
                raise WrongAnswerError(f"{response.status} {text}")
        try:
            return json.loads(body)
        except ValueError:
            raise WrongAnswerError(f"200 without JSON: {body[:200]!r}") from None

    async def get(self, request: Request, at: aiohttp.ClientSession) -> None:
        """Ask which release answers."""
        answer = await self.ask(request, at, "GET", "/")
        release = answer.get("release") if isinstance(answer, dict) else None
        if not isinstance(release, str):
            raise WrongAnswerError(f"200 without a release: {answer!r:.200}")
        now = time.time()
        self.releases.setdefault(release, [now, now])[1] = now

    async def post(self, request: Request, at: aiohttp.ClientSession) -> None:
        """Add a row, and note its key when it is acknowledged."""
        key = f"{self.settings.prefix}-{next(self.counter)}"
        expect({"n": key}, await self.ask(request, at, "POST", "/rows", json={"n": key}))
        self.rows_file.write(f"{key}\n")
        self.rows += 1

    async def slow(self, request: Request) -> None:
        """Ask for an answer that takes its time."""
        path = f"/slow?seconds={SLOW_SECONDS}"
        answer = await self.ask(request, self.kept, "GET", path)
        slept = answer.get("slept") if isinstance(answer, dict) else None
        if not isinstance(slept, int | float) or slept < SLOW_SECONDS:
            raise WrongAnswerError(f"200 without having slept: {answer!r:.200}")

    async def upload(self, request: Request) -> None:
        """Send a body slowly."""
        headers = {"Content-Length": str(len(UPLOAD)), "Content-Type": "application/octet-stream"}
        answer = await self.ask(
            request, self.kept, "POST", "/upload", data=pieces(), headers=headers
        )
        expect({"bytes": len(UPLOAD), "sha256": UPLOAD_SHA256}, answer)

    def summary(self, seconds: float) -> dict[str, Any]:
        """Return the numbers, after writing them."""
        summary = {
            "url": self.settings.url,
            "seconds": round(seconds, 3),
            "rate": self.settings.rate,
            "requests": self.requests,
            "failed": self.failed,
            "idle_closed": self.idle_closed,
            "rows": self.rows,
            "releases": {
                release: {"first": iso(first), "last": iso(last)}
                for release, (first, last) in self.releases.items()
            },
            "latency_ms": {kind: spread(each) for kind, each in self.latencies.items() if each},
            "late_ms_max": round(self.late * 1000, 1),
            "cpu_seconds": round(time.process_time() - self.cpu, 2),
        }
        # Renamed, so that whoever waits for it never reads half of it.
        part = self.settings.out / "summary.json.part"
        part.write_text(json.dumps(summary, indent=2) + "\n")
        part.rename(self.settings.out / "summary.json")
        return summary


class Cats(Load):
    """One run against the example, which keeps cats and does not tell its release."""

    async def get(self, request: Request, at: aiohttp.ClientSession) -> None:
        """Ask whether the database answers: the list of cats would grow with the load."""
        answer = await self.ask(request, at, "GET", "/readyz")
        if not isinstance(answer, dict) or answer.get("status") != "ready":
            raise WrongAnswerError(f"200 without being ready: {answer!r:.200}")

    async def post(self, request: Request, at: aiohttp.ClientSession) -> None:
        """Add a cat, and note its name when it is acknowledged."""
        key = f"{self.settings.prefix}-{next(self.counter)}"
        cat = {"name": key, "price": 1, "breed": "load"}
        answer = await self.ask(request, at, "POST", "/add", json=cat)
        if answer != "Added":
            raise WrongAnswerError(f"200 with {answer!r:.200} instead of 'Added'")
        self.rows_file.write(f"{key}\n")
        self.rows += 1


class Pinned(AbstractResolver):
    """Every name is at one address."""

    def __init__(self, address: str) -> None:
        self.address = address

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the address, whatever the name is."""
        return [
            ResolveResult(
                hostname=host, host=self.address, port=port, family=family, proto=0, flags=0
            )
        ]

    async def close(self) -> None:
        """Hold nothing."""


def session(*, keep: bool, at: str = "") -> aiohttp.ClientSession:
    """Return a session whose connections are kept, or one that opens a new one each time."""
    # Who pins an address has a certificate that nobody else knows of.
    where: dict[str, Any] = {"resolver": Pinned(at), "ssl": False} if at else {}
    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(_reused)
    result = aiohttp.ClientSession(
        connector=(
            aiohttp.TCPConnector(limit=0, keepalive_timeout=30, **where)
            if keep
            else aiohttp.TCPConnector(limit=0, force_close=True, **where)
        ),
        timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trace_configs=[trace] if keep else [],
    )
    # aiohttp sends a GET again, without a word, when the kept connection turns out to be closed:
    # a failure that would be hidden here. The attribute is private, but there is no other way.
    result._retry_connection = False
    return result


async def _reused(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    """Note that the connection had been used before."""
    context.trace_request_ctx.reused = True


async def pieces() -> AsyncIterator[bytes]:
    """Return the body of an upload, piece by piece."""
    size = len(UPLOAD) // UPLOAD_PIECES
    for begin in range(0, len(UPLOAD), size):
        await asyncio.sleep(UPLOAD_SECONDS / UPLOAD_PIECES)
        yield UPLOAD[begin : begin + size]


def cycle(mix: dict[str, int]) -> Iterator[str]:
    """Return the kinds in turn, shuffled but in the same order in every run."""
    kinds = [kind for kind, weight in mix.items() for _ in range(weight)]
    random.Random(0).shuffle(kinds)  # noqa: S311 (nothing to guess)
    return itertools.cycle(kinds)


def hung_up(error: Exception) -> bool:
    """Say whether the server closed the connection, with no byte of an answer before."""
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # Otherwise the message is the part of the answer that came.
        return isinstance(error.message, str)
    if isinstance(error, aiohttp.ClientOSError):
        return error.errno in (errno.ECONNRESET, errno.EPIPE)
    return isinstance(error, ConnectionResetError)


def expect(wanted: dict[str, Any], answer: Any) -> None:
    """Raise WrongAnswerError unless the answer says what is wanted."""
    if not isinstance(answer, dict) or any(answer.get(key) != wanted[key] for key in wanted):
        raise WrongAnswerError(f"200 with {answer!r:.200} instead of {wanted!r}")


def spread(seconds: list[float]) -> dict[str, float]:
    """Return the percentiles in milliseconds."""
    ordered = sorted(seconds)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[max(0, math.ceil(part * len(ordered)) - 1)] * 1000, 1)
        for name, part in at.items()
    }


def iso(seconds: float) -> str:
    """Return a time as ISO 8601 in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def missing(url: str, acknowledged: list[str], app: str = "numbers", at: str = "") -> list[str]:
    """Return the acknowledged rows that the site does not have; raise when it won't tell."""

    async def ask() -> Any:
        path = "/rows" if app == "numbers" else "/"
        async with session(keep=False, at=at) as own, own.get(f"{url}{path}") as answer:
            answer.raise_for_status()
            return json.loads(await answer.read())

    rows = asyncio.run(ask())
    there = set(rows) if app == "numbers" else {cat["name"] for cat in rows}
    return [key for key in acknowledged if key not in there]


def to_mix(text: str) -> dict[str, int]:
    """Return the weights of a text like get=60,post=15; raise ArgumentTypeError for another."""
    mix: dict[str, int] = {}
    for each in text.split(","):
        kind, _, weight = each.partition("=")
        if kind not in MIX or not weight.isdecimal():
            raise argparse.ArgumentTypeError(
                f"{each!r} is not NAME=WEIGHT with a name of {', '.join(MIX)}"
            )
        mix[kind] = int(weight)
    if not any(mix.values()):
        raise argparse.ArgumentTypeError("no kind has a weight above 0")
    return mix


def to_url(text: str) -> str:
    """Return the address of the site, without the last slash; raise ArgumentTypeError."""
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return text.rstrip("/")


def to_positive(text: str) -> float:
    """Return a number above 0; raise ValueError."""
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError
    return number


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="load.py", description="Load a site and miss nothing.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="send requests at a fixed rate")
    run.add_argument("url", type=to_url, metavar="URL")
    run.add_argument(
        "--rate", type=to_positive, default=200.0, help="requests a second (default: 200)"
    )
    run.add_argument("--seconds", type=to_positive, required=True, help="for how long at most")
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="where results go")
    run.add_argument("--mix", type=to_mix, metavar="NAME=WEIGHT,...", help="only these kinds")
    run.add_argument("--prefix", help="what the keys of the rows begin with")
    run.add_argument("--max-open", type=int, help="requests under way at once (default: 2000)")
    run.add_argument("--expect-zero", action="store_true", help="exit 1 when anything failed")
    check = verbs.add_parser("check", help="look for the rows of a run")
    check.add_argument("url", type=to_url, metavar="URL")
    check.add_argument("--rows", type=Path, required=True, metavar="FILE", help="a run's rows.txt")
    run.add_argument("--follow", action="store_true", help="go where a redirect leads")
    for verb in (run, check):
        verb.add_argument("--at", default="", metavar="ADDRESS", help="where every name is")
        verb.add_argument(
            "--app", choices=["numbers", "example"], default="numbers", help="what the site runs"
        )
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> int:
    """Send the requests, tell what came of them, and return the exit code."""
    names = ("url", "out", "rate", "seconds", "mix", "prefix", "max_open", "at", "follow")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}

    load = Load
    if args.app == "example":
        load, given = Cats, {"mix": CATS_MIX, **given}
    elif args.follow:
        given = {"mix": {**MIX, "upload": 0}, **given}

    async def main() -> dict[str, Any]:
        return await load(Settings(**given)).run()

    summary = asyncio.run(main())
    print(
        f"{summary['requests']} requests in {summary['seconds']:.1f} s: {summary['failed']} failed,"
        f" {summary['idle_closed']} closed while idle, {summary['rows']} rows acknowledged"
    )
    for kind, each in summary["latency_ms"].items():
        print(f"  {kind:<9} p50 {each['p50']} ms, p99 {each['p99']} ms, max {each['max']} ms")
    for release, seen in summary["releases"].items():
        print(f"  release {release or '(unnamed)'} from {seen['first']} to {seen['last']}")
    late, cpu = summary["late_ms_max"], summary["cpu_seconds"]
    print(f"  the client was at most {late} ms late, and used {cpu} s of CPU")
    return 1 if args.expect_zero and summary["failed"] + summary["idle_closed"] else 0


def check(args: argparse.Namespace) -> int:
    """Tell whether the acknowledged rows are there, and return the exit code."""
    acknowledged = args.rows.read_text().splitlines()
    lost = missing(args.url, acknowledged, args.app, args.at)
    print(f"{len(acknowledged)} rows acknowledged, {len(lost)} missing", *lost[:10])
    return 1 if lost or not acknowledged else 0


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = parse(argv)
    try:
        return run(args) if args.verb == "run" else check(args)
    except (OSError, TypeError, ValueError, aiohttp.ClientError) as error:
        print(f"load.py: {args.verb} {args.url} could not be done: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
