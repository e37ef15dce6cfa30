"""What `gateway demo` shows: who answers which model, the keys, and commands to try."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from shlex import quote
from typing import NamedTuple

import orjson
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.cli.demo_configuration import ADMIN_TOKEN
from gateway.cli.telling import budget_of, limits_of
from gateway.config.snapshot import Key, Model, Snapshot
from gateway.core.call import Json


class Call(NamedTuple):
    """A request to try."""

    title: str
    path: str
    body: str = ""
    """JSON. Empty for a GET."""
    key: str = "everything"
    """The name of the key that is shown; empty for none."""
    options: str = "-s"
    """Of curl."""
    pipe: str = ""
    """What its output goes through, so that it fits on a screen."""


CHAT = "/v1/chat/completions"
HELLO = '"messages": [{"role": "user", "content": "hello"}]'
CITY = '{"type": "object", "properties": {"city": {"type": "string"}}}'
WEATHER = f'"tools": [{{"type": "function", "function": {{"name": "weather", "parameters": {CITY}}}}}]'

CALLS = (
    Call("Claude, in OpenAI's format", CHAT, f'{{"model": "claude", {HELLO}}}'),
    Call("Gemini, streamed", CHAT, f'{{"model": "gemini", "stream": true, {HELLO}}}', options="-sN"),
    Call(
        "The first provider is full, the second answers: see x-gateway-attempts",
        CHAT,
        f'{{"model": "failover", {HELLO}}}',
        options="-si",
    ),
    Call("A model on Bedrock calls a tool", CHAT, f'{{"model": "nova", {HELLO}, {WEATHER}}}'),
    Call("Cohere's embeddings", "/v1/embeddings", '{"model": "embed", "input": "hello"}', pipe="cut -c 1-200"),
    Call("What the second key may use", "/v1/models", key="gpt-4o-only"),
    Call(
        "The third key has three calls a minute: the fourth is a 429",
        f"{CHAT}?[1-4]",
        f'{{"model": "gpt-4o", {HELLO}}}',
        key="three-a-minute",
        options=r"-s -o /dev/null -w '%{http_code}\n'",
    ),
    Call("What Prometheus is told", "/metrics", key="", pipe="grep ^gateway_tokens_total"),
)


@dataclass(frozen=True, slots=True)
class Tour:
    """A running demo."""

    url: str
    file: Path
    """Its configuration."""
    snapshot: Snapshot
    keys: Mapping[str, str]
    """By name."""


def show(tour: Tour) -> None:
    """Prints it for people."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]gateway[/bold] on {tour.url}, in front of simulated providers. Ctrl-C stops it.")
    console.print(f"OpenAI's SDKs find it at base_url {tour.url}/v1, with one of the keys below.\n")
    console.print(_table(("model", "answered by"), ((name, _answers(model)) for name, model in _models(tour))))
    console.print()
    console.print(_table(("key", "may use", "within"), map(_allowed, tour.snapshot.keys.values(), repeat(tour))))
    console.print(f"\nThe dashboard is at {tour.url}/dashboard, and opens with the token {ADMIN_TOKEN}.")
    console.print("\nTry it, in another terminal:\n")
    for title, command in _commands(tour):
        console.print(f"  # {title}", style="dim", markup=False)
        console.print(f"  {command}\n", markup=False)


def show_json(tour: Tour) -> None:
    """Prints it for scripts: one object on one line."""
    told = {
        "url": tour.url,
        "config": str(tour.file),
        "models": [
            {"model": name, "strategy": model.strategy, "targets": _targets(model)} for name, model in _models(tour)
        ],
        "keys": [{"key": tour.keys[key.name], "models": key.models} for key in tour.snapshot.keys.values()],
        "dashboard": f"{tour.url}/dashboard",
        "admin_token": ADMIN_TOKEN,
        "commands": [{"title": title, "command": command} for title, command in _commands(tour)],
    }
    print(orjson.dumps(told).decode(), flush=True)


def _table(headings: Sequence[str], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _models(tour: Tour) -> Iterator[tuple[str, Model]]:
    yield from tour.snapshot.models.items()


def _allowed(key: Key, tour: Tour) -> tuple[str, str, str]:
    """A key, and what may be done with it."""
    within = ", ".join(filter(None, (limits_of(key), budget_of(key))))
    return tour.keys[key.name], ", ".join(key.models) or "every model", within or "no bounds"


def _targets(model: Model) -> list[Json]:
    return [
        {"provider": target.provider, "model": target.model, "weight": weight}
        for target, weight in zip(model.targets, model.weights, strict=True)
    ]


def _answers(model: Model) -> str:
    """Who answers, in a few words."""
    if len(model.targets) == 1:
        (target,) = model.targets
        return f"{target.provider} ({target.model})"
    if model.strategy == "ordered":
        return ", then ".join(target.provider for target in model.targets)
    whole = sum(model.weights)
    shares = zip(model.targets, model.weights, strict=True)
    return ", ".join(f"{target.provider} {weight / whole:.0%}" for target, weight in shares)


def _commands(tour: Tour) -> Iterator[tuple[str, str]]:
    """What it is, and how to do it."""
    for call in CALLS:
        yield call.title, _curl(call, tour)
    config = f"--config {quote(str(tour.file))}"
    yield "What was used, and what it would have cost", f"gateway usage --by model {config}"
    yield "Who is well, and which models they list", f"gateway providers test {config}"


def _curl(call: Call, tour: Tour) -> str:
    lines = [f"curl {call.options} {quote(tour.url + call.path)}"]
    if call.key:
        lines.append(f"-H 'authorization: Bearer {tour.keys[call.key]}'")
    if call.body:
        lines += ["-H 'content-type: application/json'", f"-d {quote(call.body)}"]
    return " \\\n    ".join(lines) + (f" | {call.pipe}" if call.pipe else "")
