"""How a configuration file is read, and what is said about one that cannot be."""

from __future__ import annotations

import random
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
DIGEST = "0" * 64
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


BROKEN = [
    (
        "an empty file",
        "",
        "g:1:1: holds nothing",
    ),
    (
        "a file of comments",
        "# nothing yet\n",
        "g:1:1: holds nothing",
    ),
    (
        "text without any structure",
        "hello",
        "g:1:1: must be a mapping, such as `providers: ...`",
    ),
    (
        "a list at the top",
        "- a\n",
        "g:1:1: must be a mapping, such as `providers: ...`",
    ),
    (
        "two documents",
        "server: {}\n---\nserver: {}\n",
        "g:2:1: a second document begins here; a configuration is a single one",
    ),
    (
        "a tab for indentation",
        "server:\n\tport: 1\n",
        "g:2:1: a tab; indent with spaces",
    ),
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
    (
        "a quote that never closes",
        'server:\n  host: "127.0.0.1\n  port: 1\n',
        "g:2:9: the closing quote is missing",
    ),
    (
        "a bracket that never closes",
        "server: {port: 1\nmodels: {}\n",
        "g:2:7: what opens on line 1 goes wrong here: a comma, a quote or the closing } is missing",
    ),
    (
        "a list that never closes",
        "keys: [a, b\nmodels: {}\n",
        "g:2:7: what opens on line 1 goes wrong here: a comma, a quote or the closing ] is missing",
    ),
    (
        "a bracket too many",
        "server: {port: 1}}\n",
        "g:1:18: a key must stand here; check the indentation, the quotes and the brackets",
    ),
    (
        "a colon too many",
        "server: host: a\n",
        ("g:1:13: a colon where no key can be; check the line before and the indentation, or quote the value"),
    ),
    (
        "a key without its colon",
        "server\nmodels: {}\n",
        ("g:2:7: a colon where no key can be; check the line before and the indentation, or quote the value"),
    ),
    (
        "a key that is indented too far",
        "server:\n  port: 1\n host: a\n",
        "g:3:2: a key must stand here; check the indentation, the quotes and the brackets",
    ),
    (
        "a value that begins with a sign",
        "server: {host: @home}\n",
        "g:1:16: a character that cannot begin a value; put the value in quotes",
    ),
    (
        "an escape that does not exist",
        'server: {host: "\\q"}\n',
        "g:1:17: an escape that does not exist; use single quotes, or write \\\\ for a backslash",
    ),
    (
        "a star before a secret",
        "server: {metrics_key: *hunter2hunter2}\n",
        "g:1:23: an alias of nothing above; quote it if it is text that begins with *",
    ),
    (
        "an anchor without a name",
        "server: {host: & b}\n",
        "g:1:17: an alias (*) or an anchor (&) without a name; quote it if it is text",
    ),
    (
        "a tag",
        "server: {host: !secret abc}\n",
        "g:1:16: server.host: tags (words that begin with !) are not read; quote it if it is text",
    ),
    (
        "an unquoted variable in braces",
        "server: {metrics_key: ${KEY}}\n",
        'g:1:23: within {...} and [...] a variable needs quotes: "${NAME}"',
    ),
    (
        "an unquoted variable behind a quoted one",
        'server: {host: "${HOST}", metrics_key: ${KEY}}\n',
        'g:1:40: within {...} and [...] a variable needs quotes: "${NAME}"',
    ),
    (
        "an unquoted variable in brackets",
        "x: [${KEY}]\n",
        'g:1:5: within {...} and [...] a variable needs quotes: "${NAME}"',
    ),
    (
        "text after the end",
        "server: {}\n...\nx\n",
        "g:3:1: text that belongs to nothing; check the line before",
    ),
    (
        "a dash on the line of its key",
        "keys: - a\n",
        "g:1:7: a dash where no list can begin; put it on a line of its own, or quote it",
    ),
    (
        "a key that is a list",
        "server: {}\n? [a]\n: b\n",
        "g:2:3: a list or a mapping cannot be a key; quote it if it is text",
    ),
    (
        "an empty key",
        "server: {}\n: x\n",
        "g:2:1: a key must stand here; check the indentation, the quotes and the brackets",
    ),
    (
        "a key that is written twice",
        "server:\n  port: 1\n  host: localhost\n  port: 2\n",
        "g:4:3: server.port: is written twice; it is on line 2 already",
    ),
    (
        "a merge key",
        "server: &s {port: 1}\nmodels:\n  <<: *s\n",
        "g:3:3: models.`<<`: merge keys are not read; write the fields out, or put them into defaults",
    ),
    (
        "a variable in a key",
        'providers: {"${NAME}": {type: echo}}\n',
        "g:1:13: providers.`${NAME}`: variables are not replaced in keys",
    ),
    (
        "too deep a nesting",
        "a: " + "[" * 60 + "\n",
        "g:1:53: nested more than 50 levels deep",
    ),
    (
        "an unknown section",
        "provider: {}\n",
        "g:1:1: provider: is not a field here (did you mean `providers`?)",
    ),
    (
        "an unknown field",
        "server: {prot: 1}\n",
        "g:1:10: server.prot: is not a field here (did you mean `port`?)",
    ),
    (
        "a field of nowhere near",
        "server: {zebra: 1}\n",
        "g:1:10: server.zebra: is not a field here",
    ),
    (
        "a section without content",
        "providers:\nserver: {port: 1}\n",
        "g:1:11: providers: has no value; write one, or remove the line",
    ),
    (
        "a mapping where a value belongs",
        "server: {port: {a: 1}}\n",
        "g:1:10: server.port: must be a single value",
    ),
    (
        "a list where a value belongs",
        "server: {port: [1]}\n",
        "g:1:10: server.port: must be a single value",
    ),
    (
        "a value where a mapping belongs",
        "server: 4000\n",
        "g:1:9: server: must be a mapping, such as {name: value}",
    ),
    (
        "a value where a list belongs",
        "providers: {a: {type: echo, models: echo}}\n",
        "g:1:37: providers.a.models: must be a list, such as [a, b]",
    ),
    (
        "a value that is missing",
        "server: {port: }\n",
        "g:1:16: server.port: has no value; write one, or remove the line",
    ),
    (
        "a port in hexadecimal",
        "server: {port: 0x10}\n",
        "g:1:16: server.port: `0x10` is not a whole number; write 16",
    ),
    (
        "a port that looks octal",
        "server: {port: 010}\n",
        ("g:1:16: server.port: `010` is not a whole number: it begins with 0, which some take for octal; write 10"),
    ),
    (
        "a port with underscores",
        "server: {port: 4_000}\n",
        "g:1:16: server.port: `4_000` is not a whole number; write 4000",
    ),
    (
        "a port in words",
        "server: {port: four}\n",
        "g:1:16: server.port: `four` is not a whole number",
    ),
    (
        "a port that is too high",
        "server: {port: 65536}\n",
        "g:1:16: server.port: `65536` is not between 0 and 65535",
    ),
    (
        "a port with a fraction",
        "server: {port: 1.5}\n",
        "g:1:16: server.port: `1.5` is not a whole number",
    ),
    (
        "a duration without a unit",
        "server: {drain: 120}\n",
        "g:1:17: server.drain: `120` is not a duration; write it with its unit: 300ms, 5s, 10m or 1h",
    ),
    (
        "a duration of an unknown unit",
        "server: {drain: 5 parsecs}\n",
        "g:1:17: server.drain: `5 parsecs` has an unknown unit; there are ms, s, m, h, d",
    ),
    (
        "a duration below nothing",
        "server: {drain: -5s}\n",
        "g:1:17: server.drain: `-5s` is not a duration; write it with its unit: 300ms, 5s, 10m or 1h",
    ),
    (
        "a timeout of nothing",
        "defaults: {timeouts: {idle: 0s}}\n",
        "g:1:29: defaults.timeouts.idle: `0s` must be longer than nothing",
    ),
    (
        "a duration of centuries",
        "server: {drain: 999999h}\n",
        "g:1:17: server.drain: `999999h` is longer than a year",
    ),
    (
        "a size of nothing",
        "server: {max_body: 0}\n",
        "g:1:20: server.max_body: `0` must be at least 1, and below 2^53",
    ),
    (
        "a size of an unknown unit",
        "server: {max_body: 20Mb}\n",
        "g:1:20: server.max_body: `20Mb` has an unknown unit; there are B, kB, KB, MB, GB, KiB, MiB, GiB",
    ),
    (
        "a size in fractions of a byte",
        "server: {max_body: 0.5}\n",
        "g:1:20: server.max_body: `0.5` is not a whole number",
    ),
    (
        "a flag in other words",
        "providers: {a: {type: echo, enabled: maybe}}\n",
        "g:1:38: providers.a.enabled: `maybe` is not true or false",
    ),
    (
        "too many attempts",
        "defaults: {retries: {attempts: 11}}\n",
        "g:1:32: defaults.retries.attempts: `11` is not between 1 and 10",
    ),
    (
        "no attempt at all",
        "defaults: {retries: {attempts: 0}}\n",
        "g:1:32: defaults.retries.attempts: `0` is not between 1 and 10",
    ),
    (
        "a date of another order",
        "keys: [{name: a, sha256: " + DIGEST + ", expires: 31/12/2027}]\n",
        "g:1:101: keys[0].expires: `31/12/2027` is not a date; write 2027-01-01 or 2027-01-01T12:00:00Z",
    ),
    (
        "a day that no calendar has",
        "keys: [{name: a, sha256: " + DIGEST + ", expires: 2027-02-30}]\n",
        "g:1:101: keys[0].expires: `2027-02-30` is not a date; write 2027-01-01 or 2027-01-01T12:00:00Z",
    ),
    (
        "a hash that is too short",
        "keys: [{name: a, sha256: abc}]\n",
        "g:1:26: keys[0].sha256: the value is not a SHA-256: 64 hexadecimal digits",
    ),
    (
        "a provider's name with a space",
        "providers: {my server: {type: echo}}\n",
        (
            "g:1:13: providers.`my server`: `my server` is not a name: up to 64 letters, digits, dots, "
            "dashes and underscores"
        ),
    ),
    (
        "a strategy that is misspelt",
        "models: {a: {strategy: wieghted, targets: []}}\n",
        "g:1:24: models.a.strategy: `wieghted` must be weighted or ordered (did you mean `weighted`?)",
    ),
    (
        "a header's name with a space",
        "providers: {a: {type: echo, headers: {X Team: a}}}\n",
        "g:1:39: providers.a.headers.`X Team`: `X Team` is not the name of a header",
    ),
    (
        "a header that frames the request",
        "providers: {a: {type: echo, headers: {Content-Length: 5}}}\n",
        ("g:1:39: providers.a.headers.Content-Length: `Content-Length` is a header that the gateway writes itself"),
    ),
    (
        "a header's value with a line break",
        'providers: {a: {type: echo, headers: {x-a: "hidden\\r\\nx-b: 1"}}}\n',
        (
            "g:1:44: providers.a.headers.x-a: the value holds a character that a header cannot carry: a "
            "line break, a space at an end, or not ASCII"
        ),
    ),
    (
        "an address without a scheme",
        "providers: {a: {type: echo, base_url: hidden.example/v1}}\n",
        "g:1:39: providers.a.base_url: the value is not a complete URL, such as https://host/v1",
    ),
    (
        "an address of another scheme",
        "providers: {a: {type: echo, base_url: ftp://hidden.example/v1}}\n",
        "g:1:39: providers.a.base_url: the value is not a URL that begins with http:// or https://",
    ),
    (
        "an address with a password",
        "providers: {a: {type: echo, base_url: https://me:hidden@host/v1}}\n",
        ("g:1:39: providers.a.base_url: the value holds a user or a password; credentials belong into api_key"),
    ),
    (
        "an address with a query",
        "providers: {a: {type: echo, base_url: https://host/v1?key=hidden}}\n",
        ("g:1:39: providers.a.base_url: the value holds a ? or a #; it must be a prefix that paths can be joined to"),
    ),
    (
        "an address with an impossible port",
        "providers: {a: {type: echo, base_url: https://host:99999/v1}}\n",
        "g:1:39: providers.a.base_url: the value is not a URL: its host or its port cannot be read",
    ),
    (
        "a proxy of a kind that is not supported",
        "providers: {a: {type: echo, proxy: socks5://me:hidden@host:1080}}\n",
        "g:1:36: providers.a.proxy: the value is not a proxy that is supported; only http:// is",
    ),
    (
        "a proxy with a path",
        "providers: {a: {type: echo, proxy: http://me:hidden@host/path}}\n",
        "g:1:36: providers.a.proxy: the value holds more than http://user:password@host:port",
    ),
    (
        "a variable that is not set",
        'server: {host: "${NO_SUCH_HOST}"}\n',
        "g:1:16: server.host: the environment variable NO_SUCH_HOST is not set",
    ),
    (
        "two variables that are not set",
        'server: {host: "${ONE}.${TWO}"}\n',
        "g:1:16: server.host: the environment variables ONE and TWO are not set",
    ),
    (
        "a variable that is empty",
        'server: {host: "${EMPTY}"}\n',
        "g:1:16: server.host: is empty: the environment variable EMPTY is empty",
    ),
    (
        "a variable without its end",
        'server: {host: "${HOST"}\n',
        ("g:1:16: server.host: a ${ that names no variable; write ${NAME}, ${NAME:-default}, or $${ for a plain ${"),
    ),
    (
        "a variable that holds nonsense",
        'server: {port: "${SECRET}"}\n',
        "g:1:16: server.port: `${SECRET}` is not a whole number",
    ),
    (
        "a file that is not there",
        "server: {metrics_key: file:/no/such/file}\n",
        "g:1:23: server.metrics_key: cannot read file:/no/such/file: No such file or directory",
    ),
    (
        "a file without its path",
        "server: {metrics_key: file:secret}\n",
        "g:1:23: server.metrics_key: file: wants an absolute path, such as file:/run/secrets/name",
    ),
    (
        "a file that is a directory",
        "server: {metrics_key: file:/}\n",
        "g:1:23: server.metrics_key: cannot read file:/: Is a directory",
    ),
    (
        "yes and no among defaults",
        "models: {a: {targets: [], defaults: {logprobs: no}}}\n",
        (
            "g:1:48: models.a.defaults.logprobs: `no` is a flag to some readers of YAML and text to others; "
            "write true or false, or quote it"
        ),
    ),
    (
        "a number that JSON has not",
        "models: {a: {targets: [], defaults: {top_p: .nan}}}\n",
        "g:1:45: models.a.defaults.top_p: `.nan` is not a number that JSON can hold",
    ),
    (
        "a number that is too large",
        "models: {a: {targets: [], defaults: {seed: 99999999999999999999}}}\n",
        "g:1:44: models.a.defaults.seed: `99999999999999999999` is too large for a number in JSON",
    ),
    (
        "a discovery of models",
        "providers: {a: {type: echo, models: discover}}\n",
        "g:1:37: providers.a.models: `discover` is not supported yet",
    ),
    (
        "a database",
        "state: {database: sqlite:///a.db}\n",
        "g:1:1: state: is not supported yet",
    ),
    (
        "administrators",
        "admin: {tokens: []}\n",
        "g:1:1: admin: is not supported yet",
    ),
    (
        "an AWS region",
        "providers: {a: {type: echo, region: eu-west-1}}\n",
        "g:1:29: providers.a.region: is not supported yet",
    ),
    (
        "a strategy of later",
        "models: {a: {targets: [], strategy: least_busy}}\n",
        "g:1:37: models.a.strategy: `least_busy` is not supported yet",
    ),
    (
        "limits of a target",
        "models: {a: {targets: [{provider: e, model: m, limits: {}}]}}\n",
        "g:1:48: models.a.targets[0].limits: is not supported yet",
    ),
    (
        "fallbacks for long prompts",
        "models: {a: {targets: [], context_fallbacks: [b]}}\n",
        "g:1:27: models.a.context_fallbacks: is not supported yet",
    ),
    (
        "a budget of retries",
        "defaults: {retries: {budget: 20%}}\n",
        "g:1:22: defaults.retries.budget: is not supported yet",
    ),
    (
        "a breaker",
        "defaults: {breaker: {failures: 5}}\n",
        "g:1:12: defaults.breaker: is not supported yet",
    ),
    (
        "a price",
        "models: {a: {targets: [], price: {input: 1}}}\n",
        "g:1:27: models.a.price: is not supported yet",
    ),
    (
        "draining behind a hang-up",
        "defaults: {on_hangup: drain}\n",
        "g:1:23: defaults.on_hangup: `drain` is not supported yet",
    ),
    (
        "refusing what is unsupported",
        "defaults: {unsupported: error}\n",
        "g:1:25: defaults.unsupported: `error` is not supported yet",
    ),
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
    text = "server: {prot: 1, drain: 5}\nmodels: {a: {targets: {}, breaker: {}}}\nzebra: 1\n"
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


def test_an_empty_list_of_what_is_not_supported_yet_asks_for_nothing() -> None:
    assert understood("models: {a: {targets: [], content_fallbacks: []}}").models["a"].targets == []


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
    assert complaints(text) == ["g:1:1: holds more than 100000 values, counting what aliases repeat"]


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
