"""A bounded queue that is fair between keys: nobody waits longer because somebody else asks more often. Pure.

Each key has a line of its own, first in first out, and the lines take turns: one item from each in a round. A key that
begins to wait joins at the end of the round. Nagle, "On packet switches with infinite storage" (RFC 970).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)


class FairQueue(Generic[T]):
    """At most `bound` items, each in it once. A key without items takes no memory.

    Ordered dictionaries, because theirs is the only order in which both the first and any other goes in constant time.
    """

    __slots__ = ("_bound", "_length", "_lines")

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._length = 0
        self._lines: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        """By key, in the order of their turns. None is empty."""

    def __len__(self) -> int:
        return self._length

    def put(self, key: str, item: T) -> T | None:
        """Adds an item. Returns the one that there is no room for, if any.

        That is the last of the longest line, so that a key that fills the queue keeps no other out of it; it is the new
        item itself where its own line would not be shorter than that.
        """
        crowded_out = None
        if self._length >= self._bound:
            longest = max(self._lines, key=self._waiting, default=key)
            if self._waiting(longest) <= self._waiting(key) + 1:
                return item
            crowded_out = next(reversed(self._lines[longest]))
            self.discard(longest, crowded_out)
        self._lines.setdefault(key, OrderedDict())[item] = None
        self._length += 1
        return crowded_out

    def pop(self) -> T:
        """Takes out the item whose turn it is. Raises KeyError when there is none."""
        key, line = self._lines.popitem(last=False)
        item, _ = line.popitem(last=False)
        if line:
            self._lines[key] = line
        self._length -= 1
        return item

    def discard(self, key: str, item: T) -> None:
        """Takes out an item that waits no more, if it still stands there."""
        line = self._lines.get(key)
        if line is None or item not in line:
            return
        del line[item]
        if not line:
            del self._lines[key]
        self._length -= 1

    def _waiting(self, key: str) -> int:
        return len(self._lines.get(key, ()))
