"""A configuration while it is being written, with the report on it: the one thing that changes here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from gateway.config.complaints import Mark, Steps
from gateway.config.values import Reader
from gateway.core.secret import Secret
from gateway.migrate.report import Line, Verdict, on_one_line
from gateway.migrate.source import VARIABLE, Setting, in_our_spelling

NOT_NEEDED = "not needed"
"""How words begin for what is as it should be without being said."""


class Fault(ValueError):
    """A value that nothing can be made of, with words that follow it in a complaint."""

    def __init__(self, setting: Setting, words: str) -> None:
        super().__init__(words)
        self.setting = setting


class Draft:
    """What is written so far."""

    def __init__(self, file: str, taken: Iterable[str]) -> None:
        """`taken` are variables that stand for something already."""
        self.file = file
        self.content: dict[str, Any] = {}
        self.remarks: dict[Steps, dict[str, list[int]]] = {}
        """By the place above which they stand: remarks, and the lines of the file that they are on."""
        self.origins: dict[Steps, Mark] = {}
        """Where that which was written at a path comes from."""
        self.lines: list[Line] = []
        self.values: dict[str, Secret] = {}
        """What stood there in clear, by the variable that is written instead."""
        self.exports: dict[str, Setting] = {}
        """Where each of them stood."""
        self.told: set[Steps] = set()
        """What the report speaks of."""
        self._taken = set(taken)

    def same(self, setting: Setting, message: str) -> None:
        self._tell(setting, "same", message)

    def changed(self, setting: Setting, message: str, about: Steps = ()) -> None:
        """`about` is the place in what is written above which it is worth a remark."""
        self._tell(setting, "changed", message)
        what = f"{setting.key}: " if isinstance(setting.path[-1], str) else ""
        if about:
            self.remark(about, f"{what}{message}", setting.mark.line)

    def remark(self, about: Steps, words: str, line: int | None = None) -> None:
        lines = self.remarks.setdefault(about, {}).setdefault(words, [])
        if line is not None and line not in lines:
            lines.append(line)

    @property
    def comments(self) -> dict[Steps, list[str]]:
        """What stands above the values of the configuration."""
        return {
            path: [f"{_lines(lines)}{words}" for words, lines in remarks.items()]
            for path, remarks in self.remarks.items()
        }

    def left_out(self, setting: Setting, words: str) -> None:
        """For what has no counterpart, with the words of `gateway.migrate.left_out`."""
        if setting.value in (False, None, [], {}):
            self.same(setting, "is off, and not there")
        elif words.startswith(NOT_NEEDED):
            self.same(setting, words)
        else:
            self.unsupported(setting, words)

    def unsupported(self, setting: Setting, message: str) -> None:
        self._tell(setting, "unsupported", message)

    def refused(self, setting: Setting, message: str) -> None:
        self._tell(setting, "refused", message)

    def value(self, setting: Setting, read: Reader) -> str:
        """A single value in our spelling. Raises Fault."""
        try:
            if not setting.text:
                raise ValueError("must be a single value")
            written = in_our_spelling(setting.text)
            if not setting.text.startswith(VARIABLE):
                read(setting.text)
        except ValueError as error:
            raise Fault(setting, str(error)) from None
        return written

    def secret(self, setting: Setting, variable: str, read: Reader) -> str:
        """The same of what nobody may read: what stands there in clear becomes a variable, as like this as can be."""
        written = self.value(setting, read)
        if setting.text.startswith(VARIABLE):
            self.same(setting, f"comes from {written}")
            return written
        name = self.hidden(setting, variable, setting.text)
        self.changed(setting, f"stands in the file; put it into the variable {name}")
        return f"${{{name}}}"

    def hidden(self, setting: Setting, variable: str, text: str) -> str:
        """The name of the variable that stands for a text from now on."""
        wanted = re.sub(r"[^A-Z0-9_]+", "_", variable.upper()).strip("_") or "SECRET"
        known = next((name for name, value in self.values.items() if value.reveal() == text), None)
        if known:
            return known
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        self._taken.add(name)
        self.values[name], self.exports[name] = Secret(text), setting
        return name

    def given(self, setting: Setting, name: str, text: str) -> None:
        """The file itself gives a variable its value."""
        self._taken.add(name)
        self.values[name], self.exports[name] = Secret(text), setting

    def _tell(self, setting: Setting, verdict: Verdict, message: str) -> None:
        mark = setting.mark
        self.told.add(setting.path)
        self.lines.append(Line(self.file, mark.line, mark.column, setting.spelt, verdict, on_one_line(message)))


def _lines(numbers: list[int]) -> str:
    *others, last = [str(number) for number in numbers] or [""]
    return f"lines {', '.join(others)} and {last}: " if others else f"line {last}: " if last else ""
