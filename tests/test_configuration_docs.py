"""docs/configuration.md has every field, as the records that read the file have it, and its configuration works."""

from __future__ import annotations

import re
from base64 import b64encode

from gateway.config.resolve import loads
from tests.config_reference import DOCUMENT, example, tables, undocumented
from tests.sdk.provider_table import written

TEXT = DOCUMENT.read_text()


def test_its_tables_are_up_to_date() -> None:
    assert written(TEXT, tables(example(TEXT))) == TEXT, "docs/configuration.md is out of date: run `make docs`"


def test_its_configuration_works() -> None:
    named = re.findall(r"\$\{(\w+)\}", example(TEXT))
    environ = {name: f"a-long-enough-value-{number}" for number, name in enumerate(named)}
    environ["OLD_ENCRYPTION_KEY"] = b64encode(bytes(32)).decode()
    snapshot = loads(example(TEXT), name="gateway.yaml", environ=environ)
    assert {"assistant", "nova", "gpt-4"} <= set(snapshot.models)


def test_its_configuration_shows_every_field() -> None:
    assert undocumented(TEXT) == []


def test_every_link_within_it_leads_to_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", TEXT)) <= anchors
