"""What a call for embeddings comes to, whoever answered it. Dialects produce this; the surface spells it out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.core.events import Usage

Vector = list[float] | str
"""Numbers, or the base64 of them as little-endian floats of 32 bits: whichever the upstream sent."""


class Embedded(NamedTuple):
    """One answer. It does not show its vectors when it is printed: there are thousands of numbers in each."""

    vectors: Sequence[Vector]
    """One for each input, in the order of the inputs."""
    usage: Usage | None = None
    """None where the upstream did not say."""
    model: str = ""
    """The upstream's name for what answered; nothing where it did not say."""
    spelt: bytes = b""
    """The whole answer as OpenAI spells it, where the upstream did so and nothing in it is amiss."""

    def __repr__(self) -> str:
        return f"Embedded({len(self.vectors)} vectors, {self.usage}, {self.model!r})"


def joined(parts: Sequence[Embedded]) -> Embedded:
    """The answers to the parts of one batch, in order, as the answer to all of it. `parts` holds at least one."""
    if len(parts) == 1:
        return parts[0]
    vectors = [vector for part in parts for vector in part.vectors]
    counted = [part.usage.input for part in parts if part.usage is not None]
    # A sum over some of the parts would pass for the whole.
    usage = Usage(input=sum(counted)) if len(counted) == len(parts) else None
    return Embedded(vectors, usage, parts[0].model)
