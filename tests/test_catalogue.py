"""What is known of models: found by any of their names, true as far as it goes, and gathered so that it stays so."""

from __future__ import annotations

import gzip
import subprocess
import sys
from datetime import date
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.vendor_table import VENDORS
from gateway.core.call import Json, Price
from gateway.vendors.catalogue import Known, Table, about, find, names_of
from prices import sources
from prices.sources import Listed, Told
from prices.table import changes, disputed, faults, table

FOLDER = files("gateway.vendors") / "models"
FILES = {name: orjson.loads((FOLDER / f"{name}.json").read_bytes()) for name in sources.VENDORS}
each_file = pytest.mark.parametrize("vendor", FILES)


def known(vendor: str, model: str) -> Known:
    found = about(vendor, model)
    assert found is not None
    return found


# Names.


@pytest.mark.parametrize(
    ("vendor", "name", "same_as"),
    [
        ("openai", "gpt-4o-2024-11-20", "gpt-4o"),
        ("openai", "gpt-4o-2031-01-01", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("openai", "gpt-35-turbo", "gpt-3.5-turbo"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::B1c2", "ft:gpt-4o-mini"),
        ("anthropic", "claude-3-5-haiku-20241022", "claude-3-5-haiku-latest"),
        ("anthropic", "claude-opus-4-1@20250805", "claude-opus-4-1"),
        ("anthropic", "claude-haiku-4.5", "claude-haiku-4-5"),
        ("gemini", "gemini-2.0-flash-001", "gemini-2.0-flash"),
        ("mistral", "mistral-large-latest", "mistral-large"),
        ("cohere", "command-r-08-2024", "command-r"),
        ("xai", "grok-4-0709", "grok-4"),
        ("bedrock", "anthropic.claude-3-haiku-20240307-v1:0:200k", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("bedrock", "us.anthropic.claude-opus-4-5-20251101-v1:0", "anthropic.claude-opus-4-5-v1:0"),
        ("bedrock", "apac.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        (
            "bedrock",
            "arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-6",
            "anthropic.claude-sonnet-4-6-v1:0",
        ),
        (
            "bedrock",
            "arn:aws:bedrock:us-east-1::foundation-model/meta.llama3-8b-instruct-v1:0",
            "meta.llama3-8b-instruct-v1:0",
        ),
    ],
)
def test_a_model_is_known_by_any_of_its_names(vendor: str, name: str, same_as: str) -> None:
    assert known(vendor, name) == known(vendor, same_as)


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("openai", "gpt-4o-hyper"),
        ("openai", ""),
        ("azure", "gpt-4o"),
        ("openai_compatible", "gpt-4o"),
        ("echo", "echo"),
        ("nobody", "gpt-4o"),
        ("bedrock", "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6"),
        ("bedrock", "amazon.nova-lite-v2:0"),
        ("bedrock", "us-gov.meta.llama3-8b-instruct-v1:0"),
    ],
)
def test_nothing_is_made_up_of_a_model_that_is_not_known(vendor: str, name: str) -> None:
    assert about(vendor, name) is None


def test_an_edition_that_differs_has_facts_of_its_own() -> None:
    assert known("openai", "gpt-4o-2024-05-13").price != known("openai", "gpt-4o").price


def test_bedrocks_global_profiles_are_cheaper_than_its_regions() -> None:
    anywhere, here = known("bedrock", "global.anthropic.claude-opus-5"), known("bedrock", "eu.anthropic.claude-opus-5")
    assert anywhere.price
    assert here.price
    assert anywhere.price.input < here.price.input


@given(st.text())
def test_names_only_get_shorter(model: str) -> None:
    lengths = [len(name) for name in names_of(model)]
    assert lengths == sorted(lengths, reverse=True)


def test_a_name_made_to_keep_the_lookup_busy_does_not() -> None:
    assert len(list(names_of("a" + "-001" * 60))) <= 10


# Facts.


def test_a_price_is_in_dollars_per_million_tokens() -> None:
    assert known("openai", "gpt-4o").price == Price(2.5, 10, cache_read=1.25)


def test_longer_prompts_have_prices_of_their_own() -> None:
    price = known("gemini", "gemini-2.5-pro").price
    assert price == Price(1.25, 10, 0.125, above=((200_000, Price(2.5, 15, 0.25)),))


def test_a_vector_costs_nothing_beside_its_input() -> None:
    assert known("openai", "text-embedding-3-small").price == Price(0.02, 0)


def test_what_is_charged_by_the_request_too_has_no_price() -> None:
    assert known("perplexity", "sonar") == Known(context=128_000)


def test_what_a_model_cannot_do_is_told() -> None:
    assert known("openai", "o3-mini").lacks == {"images"}
    assert known("openai", "gpt-4o").lacks == frozenset()


@each_file
def test_the_packaged_facts_can_be_true(vendor: str) -> None:
    content = FILES[vendor]
    assert vendor in VENDORS
    assert list(faults(Table(content["models"], content["names"]))) == []
    assert content["models"], vendor


@each_file
def test_every_packaged_row_can_be_read(vendor: str) -> None:
    content = FILES[vendor]
    for name, row in content["models"].items():
        found = known(vendor, name)
        assert found.context == row.get("context")
        assert (found.price is None) is ("input" not in row)
        assert found.lacks <= {"images", "tools", "schema"}
        assert found.price is None or [tokens for tokens, _ in found.price.above] == sorted(
            map(int, row.get("above", ()))
        )
    assert content["names"].keys().isdisjoint(content["models"])
    assert set(content["names"].values()) <= content["models"].keys()


@each_file
def test_a_file_says_where_its_facts_are_from_and_of_which_day(vendor: str) -> None:
    assert all("MIT" in source for source in FILES[vendor]["sources"])
    assert date.fromisoformat(FILES[vendor]["as_of"]).year >= 2026


def test_no_file_is_read_before_it_is_needed() -> None:
    program = (
        "import sys, gateway.vendors.catalogue as c\n"
        "read = []\n"
        "sys.addaudithook(lambda event, args: event == 'open' and read.append(str(args[0]).rpartition('/')[2]))\n"
        "c.about('echo', 'echo')\n"
        "assert not [name for name in read if name.endswith('.json')], read\n"
        "c.about('groq', 'x'), c.about('groq', 'y')\n"
        "assert [name for name in read if name.endswith('.json')] == ['groq.json'], read\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


RECORDINGS = Path(__file__).resolve().parents[2] / "shared" / "recordings"


@pytest.mark.recordings
@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize("vendor", ["openai", "anthropic", "mistral"])
def test_most_models_that_people_called_are_known(vendor: str) -> None:
    called = set()
    for file in RECORDINGS.glob(f"{vendor}.*.jsonl.gz"):
        with gzip.open(file) as lines:
            for recording in map(orjson.loads, lines):
                body = recording["request"]["body"]
                if recording["response"]["status"] < 400 and body and body.get("model"):
                    called.add(body["model"])
    unknown = sorted(name for name in called if about(vendor, name) is None)
    assert len(unknown) <= len(called) / 10, unknown


# Gathering.


def listed(id: str, *names: str, context: int | None = None, **prices: Any) -> Listed:
    return Listed(id, names, context, prices, ())


def told(name: str, context: int | None = None, dearer_from: int | None = None, **can: bool) -> Told:
    needs: Any = can
    return Told(name, context, dearer_from, needs, None)


def made(models: list[Listed], entries: list[Told] | None = None, vendor: str = "openai") -> Table:
    return table(vendor, models, entries or [])


def test_a_name_that_a_lookup_comes_to_anyway_takes_no_room() -> None:
    rows = made([listed("m", "m-latest", "m-2025-01-01", "other", input=1)])
    assert rows == Table({"m": {"input": 1}}, {"other": "m"})
    assert find(rows, "m-2025-01-01") == find(rows, "other") == {"input": 1}


def test_a_dated_model_that_is_like_any_other_takes_no_room() -> None:
    assert made([listed("m-2025-01-01", input=1), listed("m", input=1)]) == Table({"m": {"input": 1}}, {})


def test_a_dated_model_keeps_its_own_price() -> None:
    rows = made([listed("m", input=1), listed("m-2025-01-01", input=2)])
    assert find(rows, "m-2025-01-01") == {"input": 2}
    assert find(rows, "m-2025-02-02") == {"input": 1}


def test_bedrocks_regional_prices_are_those_without_a_region() -> None:
    rows = made([listed("regional.a.m", "us.a.m", input=2), listed("global.a.m", input=1)], vendor="bedrock")
    assert rows.models.keys() == {"a.m", "global.a.m"}
    assert find(rows, "eu.a.m") == find(rows, "a.m") == {"input": 2}
    assert find(rows, "global.a.m") == {"input": 1}


def test_the_wider_of_two_windows_counts() -> None:
    assert made([listed("m", context=1000)], [told("m", 1024)]).models == {"m": {"context": 1024}}
    assert made([listed("m", context=1024)], [told("m-latest", 1000)]).models == {"m": {"context": 1024}}


@pytest.mark.parametrize("entry", [told("m", 1000), told("m", 1000, dearer_from=1000)])
def test_a_window_that_some_pay_to_have_wider_is_left_open(entry: Told) -> None:
    above: Json = {"1000": {"input": 2}} if entry.dearer_from is None else {}
    (row,) = made([listed("m", context=1000, input=1, **({"above": above} if above else {}))], [entry]).models.values()
    assert "context" not in row


def test_a_model_lacks_what_all_say_it_lacks() -> None:
    entries = [told("m", images=False, tools=False), told("m-latest", images=False, tools=True)]
    assert made([listed("m", input=1)], entries).models["m"]["lacks"] == ["images"]


def test_no_model_lacks_schemas_where_the_gateway_gets_by_without() -> None:
    entries = [told("m", schema=False)]
    assert made([listed("m", input=1)], entries).models["m"]["lacks"] == ["schema"]
    assert "lacks" not in made([listed("m", input=1)], entries, "bedrock").models["m"]


@pytest.mark.parametrize(
    "row",
    [
        {"input": -1},
        {"input": 1001},
        {"input": 0.000003},
        {"output": float("nan")},
        {"input": 1, "above": {"1000": {"input": 5000}}},
        {"context": 3},
        {"context": 10**9},
    ],
)
def test_numbers_that_cannot_be_true_are_refused(row: Json) -> None:
    assert list(faults(Table({"m": row, "free": {"input": 0, "context": 8192}}, {})))


def test_a_person_is_told_what_changed() -> None:
    old = Table({"gone": {"input": 1}, "same": {"input": 1}, "dearer": {"input": 1}}, {})
    new = Table({"new": {"input": 1}, "same": {"input": 1}, "dearer": {"input": 2}}, {})
    assert list(changes(old, new)) == ["  dearer: input 1 -> input 2", "- gone", "+ new: input 1"]


def test_a_person_is_told_where_the_sources_differ() -> None:
    entries = [told("m")._replace(input=1.005), told("m-latest")._replace(input=1.02)]
    assert list(disputed(made([listed("m", input=1)]), entries)) == ["m-latest: 1 and 1.02"]


# The first source's types, in the little of them that is used.

PRICE = SimpleNamespace(input_mtok=1, output_mtok=2, cache_read_mtok=None)


def from_day(start: date | None, price: int, **constraint: Any) -> SimpleNamespace:
    when = SimpleNamespace(start_date=start) if start else SimpleNamespace(**constraint) if constraint else None
    return SimpleNamespace(constraint=when, prices=SimpleNamespace(input_mtok=price))


def read(prices: Any) -> Listed:
    rule = SimpleNamespace(
        or_=[SimpleNamespace(equals="a"), SimpleNamespace(starts_with="b"), SimpleNamespace(regex="c")]
    )
    model = SimpleNamespace(id="m", match=rule, context_window=1000, prices=prices)
    return sources.listed(model, date(2026, 6, 1))


def test_a_model_is_read_with_its_names_and_prices() -> None:
    assert read(PRICE) == Listed("m", ("a", "b"), 1000, {"input": 1, "output": 2}, ())


def test_prices_hold_from_their_day_on() -> None:
    days = [from_day(None, 1), from_day(date(2026, 5, 1), 2), from_day(date(2026, 7, 1), 3)]
    assert read(days).prices == {"input": 2}
    assert read(days).ahead == ((date(2026, 7, 1), {"input": 3}),)


def test_of_prices_by_the_hour_the_highest_is_taken() -> None:
    assert read([from_day(None, 1), from_day(None, 2, start_time=1)]).prices == {"input": 2}
    assert read([from_day(None, 3), from_day(None, 2, start_time=1)]).prices == {"input": 3}


def test_tiers_are_read_as_whole_prices() -> None:
    tiered = SimpleNamespace(base=1, tiers=[SimpleNamespace(start=1000, price=2), SimpleNamespace(start=2000, price=3)])
    prices = read(SimpleNamespace(input_mtok=tiered, output_mtok=5)).prices
    assert prices == {
        "input": 1,
        "output": 5,
        "above": {"1000": {"input": 2, "output": 5}, "2000": {"input": 3, "output": 5}},
    }


def test_a_charge_for_each_request_leaves_no_price() -> None:
    assert read(SimpleNamespace(input_mtok=1, requests_kcount=5)).prices == {}
