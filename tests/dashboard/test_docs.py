"""What docs/dashboard.md says and shows is there."""

from __future__ import annotations

import re
from pathlib import Path

from gateway.config.resolve import loads
from gateway.config.snapshot import PERMISSIONS

DOCS = Path(__file__).parent.parent.parent / "docs"
DOCUMENT = (DOCS / "dashboard.md").read_text()
STATIC = DOCS.parent / "gateway" / "web" / "dashboard" / "static"

LARGEST = 200_000
"""Bytes of a picture."""


def test_its_configuration_lets_everybody_in_that_it_names() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", DOCUMENT, re.MULTILINE | re.DOTALL)
    environ = {"GATEWAY_ADMIN_TOKEN": "a-long-enough-token-1", "SUPPORT_TOKEN": "a-long-enough-token-2"}
    root, support = loads(text, name="gateway.yaml", environ=environ).admin.tokens
    assert root.permissions == set(PERMISSIONS)
    assert support.permissions == {"llm_provider.view", "llm_provider.test", "usage.view"}


def test_its_table_has_every_view_with_its_permission_in_their_order() -> None:
    shown = re.findall(r"^\| ([A-Z]\w+) \| .* \| (?:`([\w.]+)`|any.*) \|$", DOCUMENT, re.MULTILINE)
    scripts = "".join(file.read_text() for file in (STATIC / "views").glob("*.mjs"))
    views = re.findall(
        r"export const (\w+) = \{\s*id: '\w+',\s*title: '(\w+)',\s*permission: (?:'(.*?)'|null)", scripts
    )
    titles = {name: (title, permission) for name, title, permission in views}
    (order,) = re.findall(r"const VIEWS = \[(.*?)\]", (STATIC / "app.mjs").read_text(), re.DOTALL)
    assert shown == [titles[name] for name in re.findall(r"\w+", order)]


def test_its_pictures_are_there_and_not_too_large() -> None:
    pictures = re.findall(r"!\[[^\]]+\]\((images/[^)]+)\)", DOCUMENT)
    assert len(pictures) >= 3
    assert all(0 < (DOCS / picture).stat().st_size < LARGEST for picture in pictures)
