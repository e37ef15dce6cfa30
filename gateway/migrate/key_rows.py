"""Rows of LiteLLM's table of keys, out of a file: CSV with a heading, JSON lines, or one JSON array.

The columns: https://github.com/BerriAI/litellm/blob/main/schema.prisma, `LiteLLM_VerificationToken`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from gateway.config.complaints import Complaint, ConfigError

TOKEN = "token"  # noqa: S105  the name of a column
"""The column that every row has: the key's SHA-256."""

LISTS = ("models", "team_models", "allowed_routes")
"""Columns that hold lists. In CSV PostgreSQL writes them as `{a,"b c"}`."""

_ITEM = re.compile(r'"((?:[^"\\]|\\.)*)"|([^,{}]+)')


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key, with where it stands."""

    line: int
    columns: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A single value; empty where nothing is written, or something else."""
        value = self.columns.get(name)
        return "" if value is None or isinstance(value, dict | list) else str(value).strip()

    def list(self, name: str) -> list[str] | None:
        """What a list holds; None where there is no such column."""
        value = self.columns.get(name)
        if isinstance(value, list):
            return [str(item) for item in value]
        return None if value is None else [quoted or plain.strip() for quoted, plain in _ITEM.findall(str(value))]

    def says(self, name: str) -> bool:
        """Whether a column holds more than nothing: a list or a mapping that is empty says nothing."""
        value = self.columns.get(name)
        return bool(value) and str(value).strip() not in ("{}", "[]", "null", "NULL", "0", "0.0", "f", "false", "False")


def rows(text: str, file: str) -> Iterator[KeyRow]:
    """The rows of a file. Raises ConfigError for what is none of the three."""
    text = text.removeprefix("\ufeff")
    start = text.lstrip()[:1]
    found = (
        _from_array(text, file) if start == "[" else _from_lines(text, file) if start == "{" else _from_csv(text, file)
    )
    for row in found:
        if not row.text(TOKEN):
            raise ConfigError(
                [Complaint(file, row.line, 1, "", f"has no column {TOKEN}; export whole rows of the table")]
            )
        yield row


def _from_csv(text: str, file: str) -> Iterator[KeyRow]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    try:
        for columns in reader:
            yield KeyRow(reader.line_num, {name: value for name, value in columns.items() if name and value != ""})
    except csv.Error as error:
        raise ConfigError([Complaint(file, reader.line_num, 1, "", f"is not CSV: {error}")]) from None


def _from_lines(text: str, file: str) -> Iterator[KeyRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield KeyRow(number, _mapping(_json(line, file, number), file, number))


def _from_array(text: str, file: str) -> Iterator[KeyRow]:
    for item in _json(text, file, 1):
        yield KeyRow(1, _mapping(item, file, 1))


def _json(text: str, file: str, line: int) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ConfigError([Complaint(file, line, 1, "", "is not JSON")]) from None


def _mapping(item: Any, file: str, line: int) -> Mapping[str, Any]:
    if not isinstance(item, dict):
        raise ConfigError([Complaint(file, line, 1, "", "is not a row of a table")])
    return item
