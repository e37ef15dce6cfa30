"""How long clients may take, and how many of them may be connected."""

from __future__ import annotations

import resource
from dataclasses import dataclass

SPARE = 256
"""Files beside those of connections: the journal, the database, Redis, logs, and clients that are being sent away."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one server. Times are in seconds, kept to within a second or two: see `GatewayProtocol.look`."""

    head: float = 10.0
    """For a request's head, from its first byte to its last."""
    body: float = 30.0
    """Of silence within a request's body."""
    idle: float = 75.0
    """Between two requests, and before the first: longer than the 60 s of the usual load balancers, which otherwise use
    a connection again in the moment it is closed."""
    taking: float = 60.0
    """In which a client that has its whole answer still to take takes nothing of it."""
    leaving: float = 1.0
    """In which a client that has been refused may go on sending. Closing under it would reset the connection, and the
    refusal could be lost before it was read (RFC 9112, section 9.6)."""
    connections: int = 10_000
    """How many at a time. Whoever comes when there are so many is sent away with a 503."""


USUAL = Bounds()


def room(connections: int) -> int:
    """For how many of so many connections this process may open files: each call needs one for its provider too.

    The soft limit is raised as far as that takes and the hard one allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * connections + SPARE
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, (soft - SPARE) // 2))
