"""What is seen of an outage from outside, second by second."""

from __future__ import annotations

from collections import Counter, defaultdict

from gateway.ports import Notice


class Figures:
    """Counts per second of virtual time."""

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self.attempts: Counter[int] = Counter()
        self.errors: Counter[int] = Counter()
        self.reached: defaultdict[str, Counter[int]] = defaultdict(Counter)
        """By provider: attempts that came there."""
        self.served: defaultdict[str, list[float]] = defaultdict(list)
        """By provider: when it began to answer calls that it did answer."""
        self.ejections: list[tuple[float, Notice]] = []
        self.early = 0
        """Attempts at a provider that had asked to be left alone for longer."""
        self.most_attempts = 0
        """Of one call."""
        self.longest = 0.0
        """Seconds that a client waited for the first word of an answer, or for the refusal."""

    def amplification(self, start: float, end: float) -> float:
        """Attempts for one call, on average."""
        return _sum(self.attempts, start, end) / max(1, _sum(self.calls, start, end))

    def worst_amplification(self, start: float, end: float) -> float:
        """The same, of the worst ten seconds."""
        return max(self.amplification(second, second + 10) for second in range(int(start), int(end) - 9))

    def error_share(self, start: float, end: float) -> float:
        """The part of the calls that was not answered, by when they ended."""
        return _sum(self.errors, start, end) / max(1, _sum(self.calls, start, end))

    def rate(self, provider: str, start: float, end: float) -> float:
        """Attempts per second that came to a provider."""
        return _sum(self.reached[provider], start, end) / (end - start)

    def surge(self, provider: str, start: float, end: float) -> int:
        """Attempts that came to a provider in the fullest second of a time."""
        return max(self.reached[provider][second] for second in range(int(start), int(end)))

    def back_after(self, provider: str, since: float) -> float:
        """Seconds from `since` until the provider answered the first call."""
        return next((time for time in self.served[provider] if time >= since), float("inf")) - since

    def full_share_after(self, provider: str, since: float, usual: float, until: float) -> float:
        """Seconds from `since` until the provider has 90 % of the calls that are usual there, over five seconds."""
        seconds = range(int(since), int(until) - 5)
        full = (second for second in seconds if self.rate(provider, second, second + 5) >= 0.9 * usual)
        return next(full, float("inf")) - since

    def ejection(self, provider: str, before: float) -> float:
        """How long the last ejection was that began until then; in seconds."""
        return next(
            (notice.seconds for at, notice in reversed(self.ejections) if notice.provider == provider and at <= before),
            0.0,
        )


def _sum(counts: Counter[int], start: float, end: float) -> int:
    return sum(counts[second] for second in range(int(start), int(end)))
