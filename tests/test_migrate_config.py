"""LiteLLM's configurations as people have them, each with its report and with what becomes of it.

`python -m tests.test_migrate_config` writes what is expected anew; read every line of the difference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.app.upstreams import open_upstreams
from gateway.config.complaints import ConfigError, Steps, spell
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot
from gateway.engine.admission import Gates
from gateway.engine.house import Grounds, House
from gateway.migrate.config import Converted, convert, is_litellms, needed
from gateway.migrate.left_out import GENERAL, LITELLM, PARAMS, ROUTER
from gateway.migrate.makers import MAKERS
from gateway.migrate.params import READERS
from gateway.policy.estimate import Estimates
from gateway.routing.board import Board
from gateway.store.memory import MemoryCounters
from gateway.upstream.media import Media

SOURCES = sorted((Path(__file__).parent / "migration").glob("*.yaml"))
EXPECTED = Path(__file__).parent / "golden" / "migration"
ENVIRON = {"AWS_REGION_NAME": "eu-west-1", "REDIS_PORT": "6379", "REDIS_URL": "redis://r:6379/0", "REDIS_HOST": "redis"}


def converted(path: Path) -> Converted:
    return convert(path.read_text(), path.name)


def told(result: Converted) -> str:
    report = "\n".join(map(str, result.report))
    exports = "".join(f"\nexport {name}  # {place}" for name, place in result.exports)
    return f"{report}{exports}\n\n{result.text}"


def read(result: Converted) -> Snapshot:
    """What our reader makes of it, with all that it asks for in the environment."""
    environ = {name: _of_a_kind(name) for name in needed(result.text)} | ENVIRON
    return loads(result.text, name="gateway.yaml", environ=environ)


def _of_a_kind(name: str) -> str:
    return "https://host.example.com" if "_BASE" in name else f"a-value-of-{name.lower()}"


named = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)


@named
def test_the_report_is_as_it_was_judged(path: Path) -> None:
    assert told(converted(path)) == (EXPECTED / f"{path.stem}.txt").read_text()


@named
async def test_what_is_written_can_be_read_and_served(path: Path) -> None:
    snapshot = read(converted(path))
    board = Board(lambda: 0.0, lambda: 0.5)
    grounds = Grounds(Media(), board, Gates(board, lambda: 0.0), MemoryCounters(lambda: 0), Estimates())
    house = House(snapshot, open_upstreams(snapshot), grounds)
    house.start()
    await house.aclose()
    assert snapshot.models or snapshot.patterns


@named
def test_no_secret_of_the_file_is_written_or_told(path: Path) -> None:
    result = converted(path)
    assert "canary" not in told(result)
    assert "canary" not in repr(result)


@named
def test_every_value_of_the_file_is_told_of(path: Path) -> None:
    lines = converted(path).report
    spoken = {line.path for line in lines}
    spoken |= {line.path.partition("].")[0] + "]" for line in lines if line.message.endswith("` is left out")}
    for steps in _leaves(yaml.safe_load(path.read_text()), ()):
        assert any(spell(steps[:length]) in spoken for length in range(1, len(steps) + 1)), spell(steps)


def _leaves(value: object, path: Steps) -> Iterator[Steps]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*path, index))
    else:
        yield path


def test_what_stood_in_clear_stands_in_variables_that_nobody_can_see() -> None:
    result = converted(Path(__file__).parent / "migration" / "secrets_in_clear.yaml")
    assert result.values["OPENAI_API_KEY"].reveal() == "sk-proj-canary-openai-000000000001"
    assert result.values["OPENAI_API_KEY_2"].reveal() == "sk-proj-canary-openai-000000000002"
    assert result.values["REDIS_PASSWORD"].reveal() == "canary%2Fredis%3F1"
    environ = {name: value.reveal() for name, value in result.values.items()}
    assert loads(result.text, name="g", environ=environ).keys


def test_a_mistake_that_only_the_environment_shows_is_placed_in_litellms_file() -> None:
    result = convert("model_list:\n  - model_name: a\n    litellm_params: {model: openai/gpt-4o}\n", "litellm.yaml")
    with pytest.raises(ConfigError) as refused:
        loads(result.text, name="gateway.yaml", environ={})
    (complaint,) = refused.value.complaints
    assert complaint.path == "providers.openai.api_key"
    assert result.place(complaint.path).line == 2


def test_a_file_of_litellms_is_told_from_one_of_ours() -> None:
    assert is_litellms("model_list: []\n")
    assert not is_litellms("providers: {}\nmodels: {}\n")
    assert not is_litellms("providers: {}\nmodel_list: []\n")
    assert not is_litellms("just text")
    assert not is_litellms("a: [")


def test_a_literal_key_takes_no_variable_that_another_row_goes_by() -> None:
    rows = (
        "  - {model_name: a, litellm_params: {model: openai/gpt-4o, api_key: sk-a-literal-key-0001}}\n"
        "  - {model_name: b, litellm_params: {model: openai/gpt-4o}}\n"
    )
    result = convert(f"model_list:\n{rows}", "l.yaml")
    assert list(result.values) == ["OPENAI_API_KEY_2"]


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ("extra_body: {note: 'file:/etc/passwd'}", "file:, which would mean the content of a file"),
        ("extra_body: {api_key: x}", "may be a secret"),
        ("extra_body: {note: sk-canary-canary-1}", "may be a secret"),
        ("extra_body: {'${A}': 1}", "variables are not replaced in keys"),
    ],
)
def test_what_could_reveal_something_is_not_written(params: str, why: str) -> None:
    text = f"model_list:\n  - model_name: a\n    litellm_params: {{model: openai/gpt-4o, {params}}}\n"
    result = convert(text, "l.yaml")
    assert why in "".join(line.message for line in result.report if line.verdict == "refused")
    assert read(result).models["a"].targets[0].defaults == {}
    assert "canary" not in told(result)


def test_what_aliases_multiply_beyond_reason_is_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    with pytest.raises(ConfigError, match="too large"):
        convert("\n".join([*lines, "model_list: *a7"]), "l.yaml")
    deep = [f"b{n}: &b{n} [*b{n - 1}]" for n in range(1, 2000)]
    with pytest.raises(ConfigError, match="too large"):
        convert("\n".join(["b0: &b0 x", *deep, "model_list: *b1999"]), "l.yaml")


KEYS = sorted(
    {*READERS, *PARAMS, *LITELLM, *ROUTER, *GENERAL, "model", "api_base", "api_key", "fallbacks", "master_key"}
)
TEXTS = [
    "os.environ/X",
    "${Y}",
    "file:/etc/passwd",
    "openai/gpt-4o",
    "a",
    "*",
    "http://h:1/v1",
    "1",
    "redis",
    "sk-1234",
]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(TEXTS)
NAMES = st.sampled_from([*KEYS, "a"]) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
MODELS = st.sampled_from([f"{prefix}/m" for prefix in MAKERS]) | st.text(max_size=9)
PARAMETERS = st.fixed_dictionaries({"model": MODELS}, optional={key: VALUES for key in KEYS if key != "model"})
ROWS = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["a", "b", "a*"]) | st.text(max_size=5), "litellm_params": PARAMETERS | VALUES},
    optional={"model_info": VALUES},
)
FILES = st.fixed_dictionaries(
    {"model_list": st.lists(ROWS | VALUES, max_size=4)},
    optional={
        name: st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) | VALUES
        for name in ("litellm_settings", "router_settings", "general_settings", "environment_variables", "guardrails")
    },
)


@settings(max_examples=100, deadline=None)
@given(FILES)
def test_whatever_a_file_holds_is_converted_to_what_can_be_read(content: object) -> None:
    result = convert(yaml.safe_dump(content), "l.yaml")
    assert bool(read(result).providers) == ("\nmodels:" in result.text)


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet="abk:-[]{}&*<\"'\n #!|>0", max_size=60) | st.text(max_size=40))
def test_a_text_that_is_no_configuration_is_complained_of(text: str) -> None:
    with suppress(ConfigError):
        convert(f"model_list:\n{text}", "l.yaml")


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for source in SOURCES:
        (EXPECTED / f"{source.stem}.txt").write_text(told(converted(source)))
