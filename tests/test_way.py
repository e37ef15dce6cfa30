"""The way that is explained is the way that calls go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.live import Live
from gateway.cli.way import Stage, View, way
from gateway.config.resolve import loads_all
from gateway.core.call import Call
from gateway.core.errors import Failure, UpstreamError
from gateway.routing.board import Board
from gateway.routing.health import Standing
from gateway.routing.plan import Route, attempts

CALL = Call("id", "chat", "m0", False, False, {"messages": [{"role": "user", "content": "hello"}]})
LISTS = ("fallbacks", "context_fallbacks", "content_fallbacks")
CASES = {"context": Failure.CONTEXT_TOO_LONG, "content": Failure.CONTENT_FILTERED}

Written = list[tuple[list[int], dict[str, list[int]]]]
"""For each model its targets, and its lists of fallbacks: numbers, so that no list leads back."""


@st.composite
def models(draw: st.DrawFn) -> Written:
    count = draw(st.integers(1, 6))
    numbers = st.lists(st.integers(0, 4), min_size=1, max_size=3, unique=True)

    def later(number: int) -> st.SearchStrategy[list[int]]:
        return st.lists(st.sampled_from(range(number + 1, count)), max_size=2) if number + 1 < count else st.just([])

    return [(draw(numbers), {name: draw(later(number)) for name in LISTS}) for number in range(count)]


def view(written: Written) -> View:
    lines = []
    for number, (targets, lists) in enumerate(written):
        places = ", ".join(f"{{provider: p, model: t{target}}}" for target in targets)
        others = ", ".join(f"{name}: [{', '.join(f'm{other}' for other in to)}]" for name, to in lists.items())
        lines.append(f"  m{number}: {{strategy: ordered, retries: {{attempts: 10}}, targets: [{places}], {others}}}")
    text = "\n".join(["providers: {p: {type: echo}}", "models:", *lines])
    loaded = loads_all(text, name="test.yaml", environ={})
    return View(loaded.snapshot, loaded.spec, Live("", "nobody was asked"))


def told(stages: tuple[Stage, ...]) -> list[str]:
    return [stop.model for stage in stages for stop in stage.fresh]


def tried(seen: View, *failures: Failure) -> list[tuple[str, str]]:
    """Model and target of each attempt, when attempts fail like this and all further ones for want of credit."""
    model = seen.snapshot.models["m0"]
    board = Board(lambda: 0.0, lambda: 0.5)
    plan = attempts(Route(CALL, model, seen.snapshot.model, board, lambda: 0.0, lambda: 0.5, 600.0))
    made = [next(plan)]
    try:
        while True:
            failure = failures[len(made) - 1] if len(made) <= len(failures) else Failure.BILLING
            made.append(plan.send(UpstreamError(failure, "no")))
    except StopIteration:
        return [(attempt.model.name, attempt.target.model) for attempt in made]


@given(models())
def test_a_call_that_always_fails_meets_all_targets_in_the_order_that_is_told(written: Written) -> None:
    seen = view(written)
    stages, _ = way("m0", seen)
    assert [target for _, target in tried(seen)] == told(stages)


@given(models(), st.sampled_from(sorted(CASES)))
def test_a_refused_prompt_goes_the_detour_that_is_told(written: Written, case: str) -> None:
    seen = view(written)
    _, detours = way("m0", seen)
    expected = next((told(detour.stages) for detour in detours if (detour.case, detour.of) == (case, "m0")), [])
    assert [target for _, target in tried(seen, CASES[case])[1:]] == expected


def test_shares_are_of_the_targets_that_can_still_be_asked() -> None:
    seen = loads_all(
        """
providers: {p: {type: echo}}
models:
  m: {targets: [{provider: p, model: a}], fallbacks: [n]}
  n: {targets: [{provider: p, model: a, weight: 6}, {provider: p, model: b, weight: 3}, {provider: p, model: c}]}
""",
        name="test.yaml",
        environ={},
    )
    stages, _ = way("m", View(seen.snapshot, seen.spec, Live("", "nobody was asked")))
    assert [(stop.model, stop.share, stop.before) for stop in stages[1].stops] == [
        ("a", None, True),
        ("b", 0.75, False),
        ("c", 0.25, False),
    ]


def test_states_of_a_patterns_targets_are_found_by_the_name_that_is_written() -> None:
    text = 'providers: {p: {type: echo}}\nmodels: {"g-*": {targets: [{provider: p, model: "x-*"}]}}'
    seen = loads_all(text, name="test.yaml", environ={})
    live = Live("", states={("g-*", "p", "x-*"): Standing.EJECTED})
    stages, _ = way("g-1", View(seen.snapshot, seen.spec, live))
    assert [(stop.model, stop.state) for stop in stages[0].stops] == [("x-1", "ejected")]
