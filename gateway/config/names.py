"""Names in which one `*` may stand for any text, held against each other. Pure."""

from __future__ import annotations


def overlap(one: str, other: str) -> bool:
    """Whether two names, in each of which one `*` may stand for any text, can mean the same."""
    if "*" not in one and "*" not in other:
        return one == other
    if "*" not in one:
        one, other = other, one
    prefix, _, suffix = one.partition("*")
    start, star, end = other.partition("*")
    if not star:
        return len(other) >= len(prefix) + len(suffix) and other.startswith(prefix) and other.endswith(suffix)
    return (prefix.startswith(start) or start.startswith(prefix)) and (suffix.endswith(end) or end.endswith(suffix))
