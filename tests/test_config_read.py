"""How a configuration file is read, and what is said about one that cannot be."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.complaints import Complaint, Review
from gateway.config.read import ConfigError, read
from gateway.config.resolve import load, loads
from gateway.config.spec import Spec

ENVIRON = {
    "EMPTY": "",
    "SECRET": "hunter2",
    "HOST": "h",
    "PORT": "4001",
    "TRICK": "${SECRET}",
    "FILE": "file:/etc/passwd",
}
EXAMPLE = Path(__file__).parent.parent / "config" / "gateway.yaml"


def understood(text: str) -> Spec:
    review = Review("g")
    spec = read(Spec, text, review, ENVIRON)
    review.finish()
    return spec


def complaints(text: str) -> list[str]:
    with pytest.raises(ConfigError) as refused:
        understood(text)
    return [str(complaint) for complaint in refused.value.complaints]


MISTAKES = (Path(__file__).parent / "golden" / "config_mistakes.txt").read_text()
BROKEN = [
    *re.findall(r"^## (.*)\n((?:.*\n)*?)=> (.*)\n", MISTAKES, re.MULTILINE),
    ("an empty file", "", "g:1:1: holds nothing"),
    ("text without any structure", "hello", "g:1:1: must be a mapping, such as `providers: ...`"),
    ("a tab for indentation", "server:\n\tport: 1\n", "g:2:1: a tab; indent with spaces"),
    (
        "a character that cannot be seen",
        "server: {port: 1}\n\x01\n",
        "g:2:1: a character that cannot be seen (U+0001); remove it",
    ),
    (
        "a byte order mark in the middle",
        "server: {port: 1}\n\ufeffmodels: {}\n",
        "g:2:1: a character that cannot be seen (U+FEFF); remove it",
    ),
    ("too deep a nesting", "a: " + "[" * 60, "g:1:53: nested more than 50 levels deep"),
]


@pytest.mark.parametrize(("claim", "text", "complaint"), BROKEN, ids=[claim for claim, _, _ in BROKEN])
def test_a_mistake_is_told_with_its_place_and_its_cure(claim: str, text: str, complaint: str) -> None:
    assert complaints(text) == [complaint]


@pytest.mark.parametrize("text", [text for _, text, _ in BROKEN if "hidden" in text or "hunter2" in text])
def test_no_complaint_repeats_a_secret(text: str) -> None:
    told = "".join(complaints(text))
    assert "hidden" not in told
    assert "hunter2" not in told


def test_every_mistake_of_a_file_is_told_at_once_and_in_order() -> None:
    text = "server: {prot: 1, drain: 5}\nmodels: {a: {targets: {}, price: {input: 1}}}\nzebra: 1\n"
    assert [complaint.split(":")[:3] for complaint in complaints(text)] == [
        ["g", "1", "10"],
        ["g", "1", "26"],
        ["g", "2", "14"],
        ["g", "2", "27"],
        ["g", "3", "1"],
    ]


def test_a_misspelt_field_is_not_also_missing() -> None:
    assert complaints("providers: {a: {typ: echo}}") == [
        "g:1:17: providers.a.typ: is not a field here (did you mean `type`?)"
    ]


def test_words_that_yaml_takes_for_flags_and_numbers_are_names_where_names_belong() -> None:
    spec = understood("models: {no: {targets: [{provider: on, model: 4.10}]}, 010: {targets: []}}\naliases: {1e3: yes}")
    assert list(spec.models) == ["no", "010"]
    assert (spec.models["no"].targets[0].provider, spec.models["no"].targets[0].model) == ("on", "4.10")
    assert spec.aliases == {"1e3": "yes"}


@pytest.mark.parametrize(
    ("written", "meant"), [("no", False), ("'false'", False), ("Off", False), ("yes", True), ('"true"', True)]
)
def test_a_flag_is_what_a_person_means_by_it(written: str, meant: bool) -> None:
    assert understood(f"providers: {{a: {{type: echo, enabled: {written}}}}}").providers["a"].enabled is meant


@pytest.mark.parametrize("written", ["2027-01-01", "'2027-01-01'", "2027-01-01T00:00:00Z", "2027-01-01T01:00:00+01:00"])
def test_a_date_needs_no_quotes_and_begins_at_midnight_in_utc(written: str) -> None:
    assert understood(f"keys: [{{name: a, expires: {written}}}]").keys[0].expires == 1_798_761_600.0


def test_request_defaults_are_read_as_yaml_1_2_has_them() -> None:
    text = """
models:
  a:
    targets: []
    defaults:
      max_tokens: 1e3
      seed: 0x10
      n: 010
      temperature: .5
      logprobs: true
      stop: ["no", 12:30, 2027-01-01, null, ~, 0o17]
      user: "${SECRET}"
      top_k: ${PORT}
      metadata: {on: {deep: []}, empty: ""}
"""
    assert understood(text).models["a"].defaults == {
        "max_tokens": 1000.0,
        "seed": 16,
        "n": 10,
        "temperature": 0.5,
        "logprobs": True,
        "stop": ["no", "12:30", "2027-01-01", None, None, 15],
        "user": "hunter2",
        "top_k": 4001,
        "metadata": {"on": {"deep": []}, "empty": ""},
    }


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("${HOST}", "h"),
        ('"a-${HOST}.${HOST}"', "a-h.h"),
        ("${NONE:-fallback}", "fallback"),
        ("${EMPTY:-fallback}", "fallback"),
        ("'$${HOST}'", "${HOST}"),
        ("$HOST", "$HOST"),
        ('"${TRICK}"', "${SECRET}"),
        ('"${FILE}"', "file:/etc/passwd"),
    ],
)
def test_variables_are_replaced_once_within_values(written: str, host: str) -> None:
    assert understood(f"server:\n  host: {written}\n").server.host == host


def test_a_variable_cannot_change_the_structure() -> None:
    text = "server: {host: '${BREAKOUT}'}"
    spec = read(Spec, text, Review("g"), {"BREAKOUT": "a}, keys: [], x: {"})
    assert spec.server.host == "a}, keys: [], x: {"


def test_an_optional_value_may_be_left_empty() -> None:
    assert understood('server: {metrics_key: "${NONE:-}"}').server.metrics_key is None


def test_a_secret_can_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    key = understood(f"server: {{metrics_key: file:{tmp_path}/secret}}").server.metrics_key
    assert key is not None
    assert key.reveal() == "s3cret"


def test_an_alias_stands_for_what_its_anchor_marks() -> None:
    spec = understood("providers: {a: &a {type: echo}, b: *a}")
    assert spec.providers["a"] == spec.providers["b"]


def test_an_alias_bomb_is_defused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    text = "models: {m: {targets: [], defaults: {" + ", ".join(lines) + "}}}"
    assert complaints(text) == ["g:1:1: holds more than 50000 values, counting what aliases repeat"]


def test_an_anchor_cannot_hold_itself() -> None:
    assert complaints("models: {m: {targets: [], defaults: {a: &a [*a]}}}") == [
        "g:1:45: an alias of nothing above; quote it if it is text that begins with *"
    ]


def test_a_byte_order_mark_at_the_start_is_no_matter() -> None:
    assert understood("\ufeffserver: {port: 1}").server.port == 1


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "none.yaml", {})
    assert str(refused.value) == f"{tmp_path}/none.yaml: cannot be read: No such file or directory"


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_file_of_another_encoding_is_told(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "g.yaml").write_text("# \xe9\nserver: {}\n", encoding)
    with pytest.raises(ConfigError, match="is not UTF-8 text; save it as UTF-8"):
        load(tmp_path / "g.yaml", {})


MARKS = [
    "{",
    "}",
    "[",
    "]",
    ":",
    "-",
    "'",
    '"',
    "\n",
    "\t",
    "&a ",
    "*a",
    "!",
    "${X}",
    "#",
    "?",
    "|",
    "\x00",
    "\ufeff",
    "é",
    "<<: ",
]


def mutated(text: str, seed: int) -> str:
    """The text with a few pieces lost, doubled, or replaced by what YAML is touchy about."""
    choose = random.Random(seed)
    for _ in range(choose.randint(1, 6)):
        at, length = choose.randrange(len(text) or 1), choose.randrange(12)
        piece = choose.choice(["", text[at : at + length] * 2, choose.choice(MARKS), choose.choice(MARKS) * 3])
        text = text[:at] + piece + text[at + length :]
    return text


def faults(text: str) -> list[Complaint] | None:
    """What is wrong with a text; None for a good one."""
    try:
        loads(text, name="g", environ=ENVIRON)
    except ConfigError as error:
        return list(error.complaints)
    return None


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_to_a_good_file_nothing_but_complaints_come_of_it(seed: int) -> None:
    found = faults(mutated(EXAMPLE.read_text(), seed))
    assert found is None or (found and found == sorted(set(found)))


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_understood_or_refused(text: str) -> None:
    assert faults(text) != []
