"""The queue before a target that is full: bounded, and fair between keys."""

from __future__ import annotations

from collections import defaultdict
from itertools import combinations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.policy.fair import FairQueue

KEYS = st.sampled_from("abcd")


def filled(*arrivals: str, bound: int = 100) -> FairQueue[str]:
    """Items named like `a1`: their key and a number."""
    queue: FairQueue[str] = FairQueue(bound)
    for item in arrivals:
        assert queue.put(item[0], item) is None
    return queue


def drained(queue: FairQueue[str]) -> list[str]:
    return [queue.pop() for _ in range(len(queue))]


def test_keys_take_turns_however_much_each_asks() -> None:
    assert drained(filled("a1", "a2", "a3", "b1", "b2", "c1")) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_key_that_begins_to_wait_joins_at_the_end_of_the_round() -> None:
    queue = filled("a1", "a2", "b1")
    assert queue.pop() == "a1"
    queue.put("c", "c1")
    assert drained(queue) == ["b1", "a2", "c1"]


def test_one_that_waits_no_more_is_passed_over() -> None:
    queue = filled("a1", "a2", "a3", "b1")
    queue.discard("a", "a2")
    queue.discard("b", "b1")
    assert drained(queue) == ["a1", "a3"]


def test_a_key_that_fills_the_queue_keeps_no_other_out() -> None:
    queue = filled("a1", "a2", "a3", "a4", bound=4)
    assert queue.put("b", "b1") == "a4"
    assert queue.put("b", "b2") == "a3"
    assert queue.put("b", "b3") == "b3"
    assert drained(queue) == ["a1", "b1", "a2", "b2"]


class Queueing(RuleBasedStateMachine):
    """Any number of keys that come, go and are served, beside lists that are kept by hand."""

    BOUND = 6

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue(self.BOUND)
        self.lines: dict[str, list[int]] = defaultdict(list)
        self.ahead: dict[tuple[str, str], int] = {}
        """By pair of keys that wait: how much more often the first was served since both do."""
        self.last = 0

    @rule(key=KEYS)
    def comes(self, key: str) -> None:
        self.last += 1
        longest = max(map(len, self.lines.values()), default=0)
        full = len(self.queue) == self.BOUND
        out = self.queue.put(key, self.last)
        if not full:
            assert out is None
        elif longest <= len(self.lines[key]) + 1:
            assert out == self.last
        else:
            (loser,) = (line for line in self.lines.values() if line and line[-1] == out)
            assert len(loser) == longest
            loser.pop()
        if out != self.last:
            self.lines[key].append(self.last)

    @precondition(lambda self: len(self.queue) > 0)
    @rule()
    def is_served(self) -> None:
        item = self.queue.pop()
        (key,) = (key for key, line in self.lines.items() if item in line)
        assert self.lines[key].pop(0) == item, "within a key, first in is first out"
        for pair in self.ahead:
            self.ahead[pair] += (pair[0] == key) - (pair[1] == key)

    @precondition(lambda self: len(self.queue) > 0)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from([key for key, line in self.lines.items() if line]))
        item = data.draw(st.sampled_from(self.lines[key]))
        self.lines[key].remove(item)
        self.queue.discard(key, item)
        self.queue.discard(key, item)  # once more does no harm

    @invariant()
    def nobody_is_served_twice_in_a_round(self) -> None:
        waiting = sorted(key for key, line in self.lines.items() if line)
        self.ahead = {pair: self.ahead.get(pair, 0) for pair in combinations(waiting, 2)}
        assert all(abs(turns) <= 1 for turns in self.ahead.values())

    @invariant()
    def it_holds_those_who_wait_and_nobody_else(self) -> None:
        assert len(self.queue) == sum(map(len, self.lines.values())) <= self.BOUND

    def teardown(self) -> None:
        left = [self.queue.pop() for _ in range(len(self.queue))]
        assert sorted(left) == sorted(item for line in self.lines.values() for item in line)


TestQueueing = Queueing.TestCase
