"""What is measured: in several rounds, the servers taking turns, so that a noisy neighbour hits them all."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence

from bench import load
from bench.load import Job
from bench.measure import cpu_seconds, resident_bytes
from bench.process import Server

Rounds = dict[str, list[float]]
"""The figures of each server by name, one for each round."""

ROUNDS = 9
"""Many short ones: the closer two figures lie together in time, the more alike were the neighbours."""
CONCURRENCY = 32
STREAMS = 64
SHORT, LONG = 20, 220
"""Chunks of a stream. The difference in CPU between the two lengths is that of the chunks alone."""
CROWD = 1_000
CROWD_CHUNKS = 40
SAMPLE_EVERY = 0.1
UNJOINED = 0.9
"""The least reads for each chunk that long streams have more. With fewer, chunks were joined on the way, and cost a
proxy less than they should."""
ATTEMPTS = 5
"""How often a load is tried for which the machine has too little time to keep the chunks apart."""


def in_turns(servers: Sequence[Server], measure: Callable[[Server], float], rounds: int = ROUNDS) -> Rounds:
    """Measures every server in each round, the order turned round each time."""
    figures: Rounds = defaultdict(list)
    for turn in range(rounds):
        for server in servers[:: -1 if turn % 2 else 1]:
            figures[server.name].append(measure(server))
    return dict(figures)


def pairwise(compare: Callable[[float, float], float], ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Each round's figures compared with one another: what slowed one server in a round slowed the other too."""
    return [compare(our, their) for our, their in zip(ours, theirs, strict=True)]


def warm_up(server: Server, seconds: float = 1.0) -> None:
    load.run(Job(server.port, CONCURRENCY, seconds=seconds, model=server.model))


def per_request(server: Server, job: Job) -> tuple[float, float]:
    """CPU microseconds of the server, all that it does meanwhile included, and reads of the load, for each request."""
    before = cpu_seconds(server.pid)
    outcome = load.run(job)
    spent = cpu_seconds(server.pid) - before
    return spent * 1e6 / outcome.requests, outcome.reads / outcome.requests


def whole_request(servers: Sequence[Server], seconds: float) -> Rounds:
    """CPU microseconds per unstreamed request."""

    def asked(server: Server) -> float:
        return per_request(server, Job(server.port, CONCURRENCY, seconds=seconds, model=server.model))[0]

    return in_turns(servers, asked)


def chunk(server: Server) -> float:
    """CPU microseconds per relayed chunk: the slope between short and long streams."""
    for _ in range(ATTEMPTS):
        many = Job(server.port, STREAMS, requests=4 * STREAMS, chunks=SHORT, model=server.model)
        few = Job(server.port, STREAMS, requests=STREAMS, chunks=LONG, model=server.model)
        (short, short_reads), (long, long_reads) = per_request(server, many), per_request(server, few)
        if long_reads - short_reads >= UNJOINED * (LONG - SHORT):
            return (long - short) / (LONG - SHORT)
    raise RuntimeError("the machine is too busy: chunks arrive joined, however often it is tried")


def chunks(servers: Sequence[Server]) -> Rounds:
    return in_turns(servers, chunk)


def memory_per_stream(server: Server) -> float:
    """Bytes for each of a thousand streams open at once: the most there was, less what there was before."""
    load.run(Job(server.port, 1, requests=50))
    before = most = resident_bytes(server.pid)
    crowd = load.start(Job(server.port, CROWD, requests=CROWD, chunks=CROWD_CHUNKS, model="calm"))
    while crowd.poll() is None:
        most = max(most, resident_bytes(server.pid))
        time.sleep(SAMPLE_EVERY)
    outcome = load.finish(crowd)
    if outcome.most_open < CROWD:
        raise RuntimeError(f"only {outcome.most_open} of {CROWD} streams were open at once")
    return (most - before) / CROWD


def latencies(servers: Sequence[Server], seconds: float, rounds: int) -> tuple[Rounds, Rounds]:
    """Microseconds that half, and all but a hundredth, of the requests took, one after the other on one connection."""
    tails: Rounds = defaultdict(list)

    def median(server: Server) -> float:
        outcome = load.run(Job(server.port, 1, seconds=seconds))
        tails[server.name].append(outcome.p99 * 1e6)
        return outcome.p50 * 1e6

    return in_turns(servers, median, rounds), dict(tails)


def medians(rounds: Rounds) -> dict[str, float]:
    return {name: statistics.median(figures) for name, figures in rounds.items()}
