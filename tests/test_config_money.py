"""Prices, limits and budgets as they are written, and what comes of them."""

from __future__ import annotations

import pytest

from gateway.config.read import ConfigError
from gateway.config.resolve import Loaded, loads_all
from gateway.config.snapshot import Budget, Key, Snapshot, State
from gateway.config.unpriced import unpriced
from gateway.core.call import UNLIMITED, Limits, Price, Target
from gateway.vendors.catalogue import about
from tests.mistakes import KEY, doc
from tests.routing_mistakes import entry

TWO = "{provider: echo, model: a}, {provider: echo, model: b, price: {input: 5, output: 6}}"


def loaded(text: str) -> Loaded:
    return loads_all(text, name="g", environ={})


def snapshot(text: str) -> Snapshot:
    return loaded(text).snapshot


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        snapshot(text)
    return [str(complaint).removeprefix("g:") for complaint in refused.value.complaints]


# Prices


def targets(fields: str, of: str = TWO) -> tuple[Target, ...]:
    text = doc("  o: {type: openai, api_key: k}\n", entry("n", fields, of))
    return loads_all(text, name="g", environ={}).snapshot.models["n"].targets


def test_the_price_of_a_model_is_that_of_its_targets_but_for_those_with_their_own() -> None:
    found = targets("price: {input: 1, output: 2, cache_read: 0.1, cache_write: 1.25}")
    assert [target.price for target in found] == [Price(1, 2, 0.1, 1.25), Price(5, 6)]


def test_the_price_of_a_model_wins_over_the_catalogue() -> None:
    known = about("openai", "gpt-4o")
    assert known is not None
    [plain] = targets("", "{provider: o, model: gpt-4o}")
    [priced] = targets("price: {input: 0, output: 0}", "{provider: o, model: gpt-4o}")
    assert (plain.price, priced.price) == (known.price, Price(0, 0))


def test_a_target_has_prices_of_its_cache_too() -> None:
    [found] = targets(
        "", "{provider: echo, model: a, price: {input: 3, output: 15, cache_read: .3, cache_write: 3.75}}"
    )
    assert found.price == Price(3, 15, 0.3, 3.75)


def test_a_pattern_has_one_price_for_all_that_it_stands_for() -> None:
    found = snapshot(doc(models=entry("'p-*'", "price: {input: 1, output: 2}", "{provider: echo, model: '*'}")))
    model = found.model("p-anything")
    assert model is not None
    assert model.targets[0].price == Price(1, 2)


def test_a_model_with_a_price_can_be_the_cheapest() -> None:
    assert targets("strategy: cheapest, price: {input: 1, output: 2}")[0].price == Price(1, 2)


@pytest.mark.parametrize(
    ("price", "told"),
    [
        ("{input: 1}", "price: `output` is missing"),
        ("{input: -1, output: 2}", "price.input: `-1` is not between 0 and 100000"),
        (
            "{input: 150000, output: 2}",
            "price.input: `150000` is not between 0 and 100000: prices are in US dollars per",
        ),
        ("{input: 1, output: 2, cache_read: -0.1}", "price.cache_read: `-0.1` is not between 0 and 100000"),
        ("{input: 1, output: 2, cache_write: free}", "price.cache_write: `free` is not a number of US dollars"),
    ],
)
def test_a_price_that_cannot_be_is_refused(price: str, told: str) -> None:
    for where, text in (
        ("models.n", doc(models=entry("n", f"price: {price}"))),
        ("models.n.targets[0]", doc(models=entry("n", targets=f"{{provider: echo, model: a, price: {price}}}"))),
    ):
        [complaint] = complaints(text)
        assert f" {where}.{told}" in complaint


# Limits and budgets


def key(fields: str) -> Key:
    [found] = snapshot(keys(fields)).keys.values()
    return found


def keys(*all_fields: str, providers: str = "", models: str = entry("n", "price: {input: 1, output: 2}")) -> str:
    lines = [f"  - {{name: a{at}, key: {KEY}{at}{fields and ', '}{fields}}}\n" for at, fields in enumerate(all_fields)]
    return doc(providers, models, f"keys:\n{''.join(lines)}")


def test_a_key_has_the_limits_that_are_written() -> None:
    limits = "limits: {requests_per_minute: 600, tokens_per_minute: 1M, concurrent_requests: 40}"
    assert key(limits).limits == Limits(600, 1_000_000, 40)
    assert key("limits: {tokens_per_minute: 200k}").limits == Limits(tokens=200_000)


def test_a_key_without_limits_has_none() -> None:
    assert (key("").limits, key("").budget) == (UNLIMITED, None)


@pytest.mark.parametrize(
    ("written", "budget"),
    [
        ("{usd: 50, every: day}", Budget("day", 50_000_000)),
        ("{usd: 0.000001, every: hour}", Budget("hour", 1)),
        ("{usd: 1e3, every: week}", Budget("week", 1_000_000_000)),
        ("{tokens: 10M, every: month}", Budget("month", tokens=10_000_000)),
        ("{usd: .29, tokens: 5, every: day}", Budget("day", 290_000, 5)),
    ],
)
def test_a_budget_is_kept_in_micro_dollars_and_tokens(written: str, budget: Budget) -> None:
    assert key(f"budget: {written}").budget == budget


def test_a_target_has_the_limits_that_are_written() -> None:
    limits = "limits: {requests_per_minute: 300, tokens_per_minute: 200k, concurrent_requests: 50}"
    found = snapshot(doc(models=entry("n", targets=f"{{provider: echo, model: a, {limits}}}"))).models["n"].targets[0]
    assert found.limits == Limits(300, 200_000, 50)
    assert found.concurrent == 50


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("limits: {requests_per_minute: 0}", "requests_per_minute: `0` must be at least 1, and below 2^53"),
        ("limits: {tokens_per_minute: -5}", "tokens_per_minute: `-5` is not a count"),
        ("limits: {tokens_per_minute: 1.5}", "tokens_per_minute: `1.5` is not a whole number"),
        ("limits: {tokens_per_minute: 2G}", "`2G` is more than 1G a minute; leave it out where there is no limit"),
        ("limits: {requests_per_minute: many}", "requests_per_minute: `many` is not a count"),
        ("limits: {concurrent_requests: 0}", "concurrent_requests: `0` must be at least 1"),
        ("limits: {requests: 5}", "limits.requests: is not a field here"),
        ("limits: 5", "limits: must be a mapping"),
        ("budget: {usd: 5}", "budget: `every` is missing"),
        ("budget: {every: day}", "budget: has no amount; write usd: 50, tokens: 10M, or both"),
        ("budget: {usd: 0, every: day}", "usd: `0` is not above 0 and up to 1000000000 US dollars"),
        ("budget: {usd: -50, every: day}", "usd: `-50` is not above 0"),
        ("budget: {usd: 1e10, every: day}", "usd: `1e10` is not above 0 and up to 1000000000 US dollars"),
        ("budget: {usd: 0.0000001, every: day}", "usd: `0.0000001` has more than six decimals"),
        ("budget: {usd: $50, every: day}", "usd: `$50` is not a number of US dollars, such as 50 or 0.25"),
        ("budget: {usd: .nan, every: day}", "usd: `.nan` is not a number of US dollars"),
        ("budget: {tokens: 0, every: day}", "tokens: `0` must be at least 1"),
        ("budget: {usd: 5, every: year}", "every: `year` must be hour, day, week or month"),
    ],
)
def test_a_limit_or_a_budget_that_cannot_be_is_refused_with_words(fields: str, told: str) -> None:
    [complaint] = complaints(keys(fields))
    assert told in complaint
    assert " keys[0]." in complaint


# What is kept


def state(fields: str) -> State:
    return snapshot(doc(rest=f"state: {{{fields}}}\n")).state


def test_without_a_word_limits_are_shared_out_while_redis_is_away_and_records_are_kept_for_90_days() -> None:
    assert state("redis: ''") == State(redis=None, redis_down="share", database=None, retention=90 * 86400)


def test_what_is_written_of_the_state_is_understood() -> None:
    found = state("database: sqlite:///gateway.db, redis_down: closed, retention: 365d")
    assert found.database is not None
    assert (found.database.reveal(), found.redis_down, found.retention) == (
        "sqlite:///gateway.db",
        "closed",
        365 * 86400,
    )


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///gateway.db",
        "sqlite:////var/lib/gateway/ledger.db",
        "postgresql://host/name",
        "postgresql://user:p%2Fw@host:5432/name?sslmode=verify-full",
    ],
)
def test_a_database_is_sqlite_or_postgresql(address: str) -> None:
    found = state(f"database: '{address}'").database
    assert found is not None
    assert found.reveal() == address
    assert "p%2Fw" not in repr(found)


@pytest.mark.parametrize(
    "address",
    [
        "gateway.db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite:///gateway/",
        "postgres://hidden@host/name",
        "postgresql://hidden@host",
        "postgresql://user:hidden@host:0/name",
        "postgresql+asyncpg://hidden@host/name",
        "mysql://hidden@host/name",
        "postgresql://user:hid#den@host/name",
    ],
)
def test_another_database_is_refused_without_a_word_of_its_password(address: str) -> None:
    [complaint] = complaints(doc(rest=f"state: {{database: '{address}'}}\n"))
    assert " state.database: the value is not " in complaint
    assert "hid" not in complaint


@pytest.mark.parametrize("written", ["1h", "0s", "4000d", "90"])
def test_records_are_kept_for_a_day_at_least_and_ten_years_at_most(written: str) -> None:
    [complaint] = complaints(doc(rest=f"state: {{retention: {written}}}\n"))
    assert complaint.startswith("5:20: state.retention: `")


# Budgets that would count nothing

USD = "budget: {usd: 5, every: day}"
CURE = (
    "so that no call is counted; write price: {input: ..., output: ...} there, in US dollars per million tokens "
    "(0 for what is free), or a budget of tokens here"
)


def test_a_budget_in_dollars_for_a_named_model_without_a_price_is_a_mistake() -> None:
    models = entry("n", "price: {input: 1, output: 2}")
    assert complaints(keys(f"models: [n, m, echo], {USD}", models=models)) == [
        f"7:84: keys[0].budget.usd: `m`, `echo` have no price that is known, {CURE}"
    ]


def test_a_budget_in_dollars_of_a_key_that_can_use_nothing_with_a_price_is_a_mistake() -> None:
    told = f"keys[0].budget.usd: none of the models that the key may use has a price that is known, {CURE}"
    assert [complaint.partition(" ")[2] for complaint in complaints(keys(USD, models=""))] == [told]
    assert [complaint.partition(" ")[2] for complaint in complaints(keys(f"models: ['e*'], {USD}"))] == [told]


def test_a_budget_of_tokens_needs_no_price() -> None:
    assert key("models: [m], budget: {tokens: 5M, every: day}").budget == Budget("day", tokens=5_000_000)


def test_what_is_free_and_says_so_is_no_mistake() -> None:
    models = entry("n", "price: {input: 0, output: 0}")
    assert snapshot(keys(f"models: [n], {USD}", models=models)).keys


def test_a_pattern_whose_models_are_known_only_by_name_is_no_mistake() -> None:
    models = entry("'p-*'", targets="{provider: echo, model: '*'}")
    assert snapshot(keys(f"models: ['p-*'], {USD}", models=models)).keys


def test_an_alias_of_a_model_without_a_price_is_no_way_round() -> None:
    [complaint] = complaints(keys(f"models: [x], {USD}") + "aliases: {x: m}\n")
    assert "`x` has no price that is known" in complaint


def notes(text: str) -> list[str]:
    found = loaded(text)
    return [str(note) for note in unpriced(found.spec, found.snapshot, found.review)]


NOTE = (
    "has no price that is known: budgets in dollars do not count calls to it; "
    "write price: {input: ..., output: ...} there, in US dollars per million tokens (0 for what is free)"
)


def test_a_check_notes_every_target_that_a_budget_in_dollars_does_not_count() -> None:
    assert notes(keys(USD, models=entry("n", targets=TWO))) == [
        f"g:2:31: providers.echo.models[0]: {NOTE}",
        f"g:4:17: models.m.targets[0]: {NOTE}",
        f"g:5:17: models.n.targets[0]: {NOTE}",
    ]


def test_a_check_notes_nothing_that_no_key_with_such_a_budget_may_use() -> None:
    assert notes(keys("models: [m]", f"models: [n], {USD}")) == []
    assert notes(keys("budget: {tokens: 5, every: day}")) == []


def test_a_target_on_a_disabled_provider_is_not_noted() -> None:
    models = entry("n", targets="{provider: off, model: x}, {provider: echo, model: y, price: {input: 1, output: 1}}")
    assert notes(keys(f"models: [n], {USD}", providers="  off: {type: echo, enabled: no}\n", models=models)) == []
