"""`python -m bench`: the whole measurement. `python -m bench profile`: where the gateway spends its time."""

from __future__ import annotations

import datetime
import pstats
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from operator import sub, truediv
from pathlib import Path
from statistics import median
from typing import Annotated, Protocol

import orjson
import typer

from bench import gateway, litellm, load, nginx, report, rounds
from bench.load import Job
from bench.measure import resident_bytes
from bench.process import ROOT, Server, upstream
from bench.report import Bar, Finding
from bench.rounds import Rounds
from tests.house.valkey import valkey


class Other(Protocol):
    """A module of this folder that starts a proxy to compare with."""

    def version(self) -> str: ...

    def serving(self, upstream: Server, folder: Path) -> AbstractContextManager[Server]: ...


OTHERS: dict[str, Other] = {"litellm": litellm}
WHOLE, CHUNK, MEMORY, FACTOR = Bar(4), Bar(2.5), Bar(40), Bar(100, at_least=True)
TRANSLATED_WHOLE, TRANSLATED_CHUNK = Bar(5), Bar(3.5)
LIMITED_WHOLE, SHARED_WHOLE = Bar(5), Bar(8)
"""What the project promises, in the units of the findings they belong to."""
STARTS = 3
"""The first makes the bytecode, so the median is of a program that has been started before."""
LATENCY_ROUNDS = 3

app = typer.Typer(add_completion=False)


@contextmanager
def provider() -> Iterator[tuple[Server, Path]]:
    """The upstream, and a folder for what the servers leave behind."""
    with tempfile.TemporaryDirectory() as name, upstream(Path(name)) as server:
        yield server, Path(name)


def starts(behind: Server, folder: Path) -> list[Finding]:
    """Start-up and idle memory, and memory by stream while nothing else has been asked of the process yet."""
    seconds, idle = [], []
    for _ in range(STARTS):
        with gateway.serving(behind, folder) as server:
            seconds.append(server.start_up)
            idle.append(resident_bytes(server.pid) / 1e6)
    with gateway.serving(behind, folder) as server:
        per_stream = rounds.memory_per_stream(server) / 1e3
    return [
        Finding("start until ready, s", {"gateway": median(seconds)}, seconds),
        Finding("memory when idle, MB", {"gateway": median(idle)}, idle),
        Finding(f"memory per stream, {rounds.CROWD:,} open, KB", {"gateway": per_stream}, [per_stream], MEMORY),
    ]


def whole_requests(servers: Sequence[Server], seconds: float) -> list[Finding]:
    cpu = rounds.whole_request(servers, seconds)
    per_core = {name: 1e6 / figure for name, figure in rounds.medians(cpu).items()}
    findings = [
        against_nginx("whole request, µs of CPU", cpu, WHOLE),
        against_nginx("whole request, translated, µs of CPU", cpu, TRANSLATED_WHOLE, "translated"),
        Finding("requests per second and core", per_core),
    ]
    for name in OTHERS.keys() & cpu.keys():
        times = rounds.pairwise(truediv, cpu[name], cpu["gateway"])
        findings.append(Finding(f"requests per core, x {name}", {}, times, FACTOR))
    return findings


def limited_requests(behind: Server, folder: Path, beside: Server, seconds: float) -> list[Finding]:
    """Started when the others have been measured: a gateway that has calls to carry into its ledger is not idle."""
    with ExitStack() as stack:
        limited = stack.enter_context(gateway.limited(behind, folder))
        shared = stack.enter_context(gateway.limited(behind, folder, stack.enter_context(valkey()).url()))
        for server in (limited, shared):
            rounds.warm_up(server)
        cpu = rounds.whole_request([beside, limited, shared], seconds)
        for server in (limited, shared):
            gateway.check_all_is_in_the_ledger(server, folder)
    return [
        against_nginx("whole request, limits, budget and ledger, µs of CPU", cpu, LIMITED_WHOLE, "limited"),
        against_nginx("whole request, the same with Redis, µs of CPU", cpu, SHARED_WHOLE, "shared"),
    ]


def against_nginx(what: str, cpu: Rounds, bar: Bar, name: str = "gateway") -> Finding:
    medians = rounds.medians({server: figures for server, figures in cpu.items() if server in (name, "nginx")})
    return Finding(f"{what}, x nginx", medians, rounds.pairwise(truediv, cpu[name], cpu["nginx"]), bar)


def latencies(servers: Sequence[Server], seconds: float) -> list[Finding]:
    findings = []
    percentiles = rounds.latencies(servers, seconds, LATENCY_ROUNDS)
    for name, micros in zip(("p50", "p99"), percentiles, strict=True):
        added = rounds.pairwise(sub, micros["gateway"], micros["direct"])
        findings.append(Finding(f"latency at 1 connection, {name}, µs, added", rounds.medians(micros), added))
    return findings


def everything(seconds: float, against: Sequence[str]) -> list[Finding]:
    with provider() as (behind, folder), ExitStack() as stack:
        findings = starts(behind, folder)
        proxies = [stack.enter_context(start(behind, folder)) for start in (nginx.serving, gateway.serving)]
        others = [stack.enter_context(OTHERS[name].serving(behind, folder)) for name in against]
        for server in (*proxies, *others):
            rounds.warm_up(server)
        gateway.check_all_is_on(proxies[1], folder)
        translated = replace(proxies[1], name="translated", model="translated")
        rounds.warm_up(translated)
        whole = whole_requests([*proxies, translated, *others], seconds)
        chunks = rounds.chunks([*proxies, translated])
        chunk = [
            against_nginx("stream chunk, µs of CPU", chunks, CHUNK),
            against_nginx("stream chunk, translated, µs of CPU", chunks, TRANSLATED_CHUNK, "translated"),
        ]
        latency = latencies([behind, *proxies, *others], seconds / 2)
        limited = limited_requests(behind, folder, proxies[0], seconds)
        return [*whole, *limited, *chunk, *findings, *latency]


@app.command()
def profile(
    seconds: Annotated[float, typer.Option(help="How long the gateway is loaded.")] = 5.0,
    streams: Annotated[bool, typer.Option(help="Ask for streams, not for whole answers.")] = False,
    top: Annotated[int, typer.Option(help="How many functions to print.")] = 40,
) -> None:
    """Prints the functions in which the gateway spends its time."""
    with provider() as (behind, folder):
        with gateway.serving(behind, folder):
            pass  # Once in advance, so that the profile is not one of compiling.
        file = folder / "profile"
        with gateway.profiled(behind, folder, file) as server:
            whole = Job(server.port, rounds.CONCURRENCY, seconds=seconds)
            streamed = Job(server.port, rounds.STREAMS, seconds=seconds, chunks=rounds.LONG)
            load.run(streamed if streams else whole)
        pstats.Stats(str(file)).strip_dirs().sort_stats("tottime").print_stats(top)


@app.callback(invoke_without_command=True)
def measure(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(help="How long each server is loaded in each round.")] = 1.5,
    against: Annotated[list[str] | None, typer.Option(help=f"Also measure: {', '.join(OTHERS)}.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file.")] = None,
    save: Annotated[bool, typer.Option(help="Write the report to bench/results.")] = False,
) -> None:
    """Measures the gateway beside nginx."""
    if context.invoked_subcommand:
        return
    if unknown := set(against or ()) - OTHERS.keys():
        raise typer.BadParameter(f"{', '.join(unknown)}: there is only {', '.join(OTHERS)}")
    findings = everything(seconds, against or ())
    facts = report.machine() | {"nginx": nginx.version()} | {name: OTHERS[name].version() for name in against or ()}
    report.show(findings)
    if json:
        json.write_bytes(orjson.dumps(report.plain(findings, facts), option=orjson.OPT_INDENT_2))
    if save:
        date = datetime.date.today().isoformat()
        (results := ROOT / "bench" / "results").mkdir(exist_ok=True)
        (results / f"{date}.md").write_text(report.markdown(findings, facts, date))


if __name__ == "__main__":
    app()
