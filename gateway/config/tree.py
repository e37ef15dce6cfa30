"""A document as it was written: values that know where they stand, and not yet what they mean."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.config.complaints import Mark


@dataclass(frozen=True, slots=True)
class Scalar:
    mark: Mark
    text: str
    plain: bool
    """Written without quotes, so that it may mean a number, a flag or nothing."""


@dataclass(frozen=True, slots=True)
class Items:
    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Entries:
    mark: Mark
    entries: tuple[tuple[Scalar, Node], ...]
    """No two with the same key."""


Node = Scalar | Items | Entries
