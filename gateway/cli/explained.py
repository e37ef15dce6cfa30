"""An explanation in words, for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from gateway.cli.explanation import Access, Explanation, Kind, Meaning, Settings
from gateway.cli.live import STATES, STYLES, Live
from gateway.cli.tables import UNFOLDED
from gateway.cli.telling import an
from gateway.cli.way import Case, Detour, Stage, Stop
from gateway.config.complaints import quoted
from gateway.config.snapshot import OnHangup, Strategy, Unsupported
from gateway.core.call import Json
from gateway.routing.board import FEWEST_RETRIES, RETRY_WINDOW
from gateway.routing.health import ENOUGH, SHARE, Standing

MEANT: Mapping[Kind, str] = {
    "default": "{name} is the default model, {of}.",
    "alias": "{name} is an alias of {of}.",
    "pattern": "{name} matches {of}; the * stands for {text}.",
    "discovered": "{name} is a model that {provider} lists.",
    "published": "{name} is published by {provider}.",
    "model": "{name} is a model of the configuration.",
}

STRATEGIES: Mapping[Strategy, str] = {
    "weighted": "by chance and weight",
    "ordered": "in this order",
    "least_busy": "of two drawn by weight, the one with fewer calls under way",
    "fastest": "the one that was quickest to its first token lately",
    "cheapest": "the one where the call is likely to cost least",
}
"""How one of several targets is chosen."""

PLACES: Mapping[Strategy, Callable[[Stop, int], str]] = {
    "weighted": lambda stop, place: f"{100 * (stop.share or 0):.3g}%",
    "ordered": lambda stop, place: f"{place}.",
    "least_busy": lambda stop, place: f"weight {stop.weight:g}",
    "fastest": lambda stop, place: "",
    "cheapest": lambda stop, place: "",
}
"""What a target may expect."""

CASES: Mapping[Case, tuple[str, str]] = {
    "context": ("a prompt is too long for", "that is too long"),
    "content": ("a content filter refuses a call to", "that a content filter refuses"),
}
"""The case where there is somewhere else to go, and where there is not."""

HANG_UPS: Mapping[OnHangup, str] = {
    "cancel": "the call to the provider is cancelled",
    "drain": "the provider's answer is read to its end, for its usage",
}

UNSUPPORTED: Mapping[Unsupported, str] = {
    "drop": "what a provider cannot express is dropped, and a header says so",
    "error": "what a provider cannot express makes a request an error",
}

LIMITS = {
    "requests_per_minute": "{:,} requests a minute",
    "tokens_per_minute": "{:,} tokens a minute",
    "concurrent_requests": "{:,} calls at once",
}
"""What a key's limits leave room for."""


def show(explanation: Explanation, live: Live) -> None:
    """Prints it: the name, who may use it, the way in a few sentences, each target, and the settings."""
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = UNFOLDED
    for meaning in explanation.meanings:
        console.print(_meant(meaning))
    console.print(_who(explanation), style="" if _is_allowed(explanation.key) else "bold red")
    console.print()
    for sentence in _in_short(explanation):
        console.print(sentence)
    headed = [(heading, list(_rows(stage))) for heading, stage in _headings(explanation)]
    lines = Lines.for_rows([row for _, rows in headed for row in rows], console.width)
    for heading, rows in headed:
        console.print()
        console.print(heading, style="bold")
        for row in rows:
            lines.print(row, console)
    console.print()
    console.print(_settings(explanation.settings, live))


# Names and keys


def _meant(meaning: Meaning) -> str:
    return MEANT[meaning.kind].format(
        name=quoted(meaning.name), of=quoted(meaning.of), text=quoted(meaning.text), provider=meaning.of
    )


def _is_allowed(key: Access | None) -> bool:
    return key is None or (key.may_use and not key.expired)


def _who(explanation: Explanation) -> str:
    key = explanation.key
    if key is None and explanation.keys is None:
        return "Everyone on this machine may use it: no keys are configured."
    if key is None:
        return f"Keys that may use it: {', '.join(explanation.keys or ()) or 'none'}."
    if key.expired and key.expires is not None:
        return (
            f"The key {key.name} expired on {datetime.fromtimestamp(key.expires, UTC):%Y-%m-%d}: its calls get a 401."
        )
    if not key.may_use:
        return (
            f"The key {key.name} may not use {quoted(key.model)}: its calls get a 404, as if there were no such model."
        )
    return f"The key {key.name} may use it{_within(key)}."


def _within(key: Access) -> str:
    """What its limits leave room for."""
    said = [LIMITS[name].format(most) for name, most in key.limits.items()]
    every = f" {an(key.budget['every'])}" if key.budget else ""
    said += [_dollars(key.budget["usd"]) + every] if "usd" in key.budget else []
    said += [f"{key.budget['tokens']:,} tokens{every}"] if "tokens" in key.budget else []
    return f", within {', '.join(said)}" if said else ""


# The way


def _in_short(explanation: Explanation) -> Iterator[str]:
    stages = [stage for stage in explanation.stages if stage.fresh]
    first, *others = (group for stage in stages for group in _groups(stage))
    if stages[0].strategy != "ordered" and (many := len(stages[0].fresh)) > 1:
        others.insert(0, "the other one" if many == 2 else "another of these")
    yield f"A call goes to {first}."
    if others:
        yield f"If that fails before its first output, it goes to {', then to '.join(others)}."
    else:
        yield "If that fails, there is nowhere else to go."
    yield _bounds(explanation, sum(len(stage.fresh) for stage in stages))
    yield from _exceptions(explanation, stages)


def _groups(stage: Stage) -> list[str]:
    """Targets that are chosen among, in one phrase."""
    names = [f"{stop.provider} ({stop.model})" for stop in stage.fresh]
    return names if stage.strategy == "ordered" else [" or ".join(names)]


def _bounds(explanation: Explanation, targets: int) -> str:
    attempts, seconds = explanation.settings.attempts, explanation.settings.timeouts.total
    many = f"{attempts} attempt{'' if attempts == 1 else 's'} at most"
    beyond = f", so one call cannot reach all {targets} targets" if targets > attempts else ""
    return f"It has {many} and {seconds:g} s{beyond}."


def _exceptions(explanation: Explanation, stages: list[Stage]) -> Iterator[str]:
    away = {
        f"{stop.provider} ({stop.model})": stop.state
        for stage in stages
        for stop in stage.fresh
        if stop.state not in (None, STATES[Standing.READY])
    }
    for name, state in away.items():
        yield f"Now {name} is {state}: it is left out as long as another can be asked."
    answered = {(detour.case, detour.of) for detour in explanation.detours}
    nowhere = [words for case, (_, words) in CASES.items() if (case, stages[0].name) not in answered]
    if nowhere:
        yield f"A prompt {' or '.join(nowhere)} goes nowhere else."


def _headings(explanation: Explanation) -> Iterator[tuple[str, Stage]]:
    for stage in explanation.stages:
        yield _heading(f"then {_named(stage)}, a fallback of {stage.of}" if stage.of else _named(stage), stage), stage
    for detour in explanation.detours:
        for stage in detour.stages:
            yield _heading(_leading(detour, stage), stage), stage


def _leading(detour: Detour, stage: Stage) -> str:
    if stage is detour.stages[0]:
        return f"if {CASES[detour.case][0]} {detour.of}: {_named(stage)}"
    fallback = "" if stage.of == detour.of else f", a fallback of {stage.of}"
    return f"    then {_named(stage)}{fallback}"


def _named(stage: Stage) -> str:
    return f"{stage.name} ({stage.model})" if stage.model and stage.model != stage.name else stage.name


def _heading(words: str, stage: Stage) -> str:
    if stage.model is None:
        return f"{words}: there is no such model now, so it is passed over"
    if len(stage.stops) == 1:
        return words
    sticky = "; a conversation stays with its target" if stage.sticky else ""
    return f"{words}: {STRATEGIES[stage.strategy]}{sticky}"


# Targets


class Row(NamedTuple):
    """A target in words."""

    place: str
    provider: str
    model: str
    state: str
    """Or why it is not asked; then there are no details."""
    details: str = ""


class Lines(NamedTuple):
    """How rows are laid out: in columns that stand below each other, with the details behind them or below."""

    place: int
    """Characters of a column, as those that follow."""
    provider: int
    model: int
    state: int
    below: bool

    @classmethod
    def for_rows(cls, rows: list[Row], width: int) -> Lines:
        """Details go below where the longest of them would not fit into the window."""
        place, provider, model = (max(len(row[column]) for row in rows) for column in range(3))
        lines = cls(place, provider, model, max(len(row.state) for row in rows if row.details), below=False)
        return lines._replace(below=any(len(lines.head(row)) + len(row.details) > width for row in rows))

    def head(self, row: Row) -> Text:
        """All but the details."""
        state = f"{row.state:{self.state}}  " if self.state else row.state
        columns = f"  {row.place:>{self.place}}  {row.provider:{self.provider}}  {row.model:{self.model}}  "
        return Text.assemble(columns, (state, STYLES.get(row.state, "")))

    def print(self, row: Row, console: Console) -> None:
        """One line, or two."""
        details = Text(row.details, "dim")
        if self.below and row.details:
            console.print(self.head(row))
            console.print(Padding(details, (0, 0, 0, self.place + 4)))
        else:
            console.print(self.head(row).append_text(details))


def _rows(stage: Stage) -> Iterator[Row]:
    place = 0
    for stop in stage.stops:
        if stop.before:
            yield Row("", stop.provider, stop.model, "asked before")
        else:
            place += 1
            where = PLACES[stage.strategy](stop, place)
            yield Row(where, stop.provider, stop.model, stop.state or "", _details(stop))
    for left in stage.left_out:
        yield Row("", left.provider, left.model, f"left out: {left.why}")


def _details(stop: Stop) -> str:
    said = (
        f"{stop.type} at {stop.host}" if stop.host else f"{stop.type}, in process",
        f"context {_count(stop.context)}" if stop.context else "",
        f"lacks {' and '.join(stop.lacks)}" if stop.lacks else "",
        f"at most {stop.concurrent} calls at once" if stop.concurrent else "",
        _price(stop.price) if stop.price else "price not known",
    )
    return ", ".join(filter(None, said))


def _price(price: Json) -> str:
    more = f", more above {_count(price['above'][0]['tokens'])} tokens" if price["above"] else ""
    return f"{_dollars(price['input'])} in / {_dollars(price['output'])} out per million{more}"


def _dollars(amount: float) -> str:
    cents = f"{amount:.2f}"
    return f"${cents}" if float(cents) == amount else f"${amount:g}"


def _count(number: int) -> str:
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if number % size == 0:
            return f"{number // size}{unit}"
    return f"{number:,}"


# Settings


def _settings(settings: Settings, live: Live) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for name, words in _lines(settings).items():
        table.add_row(Text(name, style="bold"), words)
    known = f"as the gateway at {live.url} has it"
    table.add_row(Text("state", style="bold"), f"unknown: {live.unknown}" if live.unknown else known)
    return table


def _lines(settings: Settings) -> Mapping[str, str]:
    times, breaker = settings.timeouts, settings.breaker
    retries = (
        f"at most {settings.retry_share:.0%} of a provider's requests over {RETRY_WINDOW:g} s, or {FEWEST_RETRIES}"
    )
    failures = f"{breaker.failures} failures in a row, or {SHARE:.0%} of at least {ENOUGH} in {breaker.window:g} s"
    ejected = f"for {breaker.ejection:g} s, longer each further time, up to {breaker.max_ejection:g} s"
    stream = f"first token {times.first_token:g} s, silence within a stream {times.idle:g} s"
    hedged = f"for {settings.hedge:.0%} of the streams at most, another target is asked when one is slow to begin"
    return {
        "attempts": f"{settings.attempts} for one call, over all targets and fallbacks",
        "second tries": f"at the same target, while attempts are left for all others; {retries}",
        "ejection": f"after {failures}; {ejected}",
        "timeouts": f"connect {times.connect:g} s, {stream}, whole call {times.total:g} s",
        "hedging": hedged if settings.hedge else "none: a stream that is slow to begin is waited for",
        "hang-up": HANG_UPS[settings.on_hangup],
        "lost fields": UNSUPPORTED[settings.unsupported],
    }
