"""All documents together: they are linked with one another, and each of their blocks is run by some test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.config.resolve import loads
from gateway.config.vendor_table import VENDORS
from tests.test_docs import blocks
from tests.test_quickstart_docs import Place, commands

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DOCUMENTS = sorted(path.relative_to(ROOT).as_posix() for path in [*DOCS.glob("*.md"), *ROOT.glob("*.md")])

TRIED = {
    "README.md": ("test_docs.py", {"console", "python", "sh", "yaml"}),
    "CONTRIBUTING.md": ("test_docs.py", {"yaml"}),
    "docs/admin-api.md": ("house/test_admin_api_docs.py", {"console", "yaml"}),
    "docs/configuration.md": ("test_configuration_docs.py", {"yaml"}),
    "docs/dashboard.md": ("dashboard/test_docs.py", {"yaml"}),
    "docs/failover.md": ("test_failover_docs.py", {"console", "yaml"}),
    "docs/limits.md": ("test_limits_docs.py", {"console", "yaml"}),
    "docs/migration.md": ("test_migration_docs.py", {"console", "python", "sql", "yaml", "yaml litellm"}),
    "docs/providers.md": ("test_docs_whole.py", {"console", "yaml"}),
    "docs/quickstart.md": ("test_quickstart_docs.py", {"console", "python", "sh", "yaml"}),
    "docs/security.md": ("test_security_docs.py", {"console", "json", "yaml"}),
}
"""Which test runs the blocks of a document, and of which languages they are."""

ONLY_SHOWN = "text"
"""The language of a block that no test can run: it needs a cluster, a registry, another shell."""


def text(document: str) -> str:
    return (ROOT / document).read_text()


def languages(document: str) -> set[str]:
    """Of its blocks. Fences come in pairs."""
    return set(re.findall(r"^ *```(.*)$", text(document), re.MULTILINE)[::2])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_block_is_run_by_a_test_or_says_that_it_is_only_shown(document: str) -> None:
    test, run = TRIED.get(document, ("", set()))
    assert languages(document) - {ONLY_SHOWN} == run
    assert (ROOT / "tests" / test).exists()


def _links(document: str) -> Iterator[tuple[str, str]]:
    for target in re.findall(r"\]\((?!https?:)([^) ]+)\)", text(document)):
        path, _, anchor = target.partition("#")
        yield path, anchor


def _anchors(markdown: str) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", markdown, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(document: str) -> None:
    for path, anchor in _links(document):
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.exists(), path
        assert not anchor or anchor in _anchors(target.read_text()), f"{path}#{anchor}"


def test_every_document_is_in_the_index() -> None:
    linked = {path for path, _ in _links("docs/README.md")}
    assert {path.name for path in DOCS.glob("*.md")} - {"README.md"} <= linked


def test_every_type_of_provider_is_configured_as_the_environment_has_it() -> None:
    (configuration,) = blocks(text("docs/providers.md"), "yaml")
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)", configuration), "us-east-1")
    environ["AZURE_OPENAI_ENDPOINT"] = "https://mine.openai.azure.com"
    snapshot = loads(configuration, name="gateway.yaml", environ=environ)
    assert {provider.vendor.name for provider in snapshot.providers.values()} == set(VENDORS)
    known = {name for vendor in VENDORS.values() for name in vendor.env}
    keys = set(re.findall(r"api_key: \"?\$\{(\w+)", configuration))
    assert keys == {vendor.env[0] for vendor in VENDORS.values() if vendor.env} & keys
    assert keys <= known


def test_the_command_of_docs_providers_works(tmp_path: Path) -> None:
    (configuration,) = blocks(text("docs/providers.md"), "yaml")
    (tmp_path / "gateway.yaml").write_text("server: {port: 0}\n" + configuration)
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)", configuration), "us-east-1")
    environ |= {
        "AZURE_OPENAI_ENDPOINT": "https://mine.openai.azure.com",
        "PYTHONPATH": str(ROOT),
        "HOME": "/nonexistent",
    }
    (command,) = commands(text("docs/providers.md"))
    assert "bedrock-by-keys" in Place(tmp_path, environ).gateway(*command)
