"""The vendor table, and the addresses that come of it."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, get_args
from urllib.parse import urlsplit

import pytest
import yaml

import gateway.vendors
from gateway.dialects import registry
from gateway.vendors.quirks import QUIRKS
from gateway.vendors.vendor import CredentialKind, Vendor, own_base_url, urls

TABLE = Path(gateway.vendors.__path__[0], "vendors.yaml").read_text()


def vendor(name: str, row: dict[str, Any]) -> Vendor:
    lists = {field: tuple(value) for field, value in row.items() if isinstance(value, list)}
    return Vendor(name=name, **{**row, **lists})


VENDORS = {name: vendor(name, row) for name, row in yaml.safe_load(TABLE).items()}
each_vendor = pytest.mark.parametrize("vendor", VENDORS.values(), ids=VENDORS.keys())


def test_the_providers_that_people_name_are_there() -> None:
    assert VENDORS.keys() >= {"openai", "openai_compatible", "azure", "ollama", "vllm", "groq", "echo"}
    assert VENDORS.keys() >= {"anthropic", "bedrock", "gemini", "cohere", "mistral"}


@each_vendor
def test_a_row_names_only_what_there_is(vendor: Vendor) -> None:
    assert vendor.dialect in registry.DIALECTS
    assert set(vendor.quirks) <= QUIRKS.keys()
    assert vendor.credential in get_args(CredentialKind)


@each_vendor
def test_a_base_url_is_encrypted_unless_it_is_this_machine(vendor: Vendor) -> None:
    if vendor.base_url is None:
        return
    parts = urlsplit(vendor.base_url)
    assert parts.scheme == "https" or parts.hostname == "127.0.0.1" or vendor.in_process
    assert not vendor.base_url.endswith("/")
    assert not parts.query


@each_vendor
def test_every_operation_has_a_path(vendor: Vendor) -> None:
    for paths in (vendor.paths, *vendor.paths_for.values()):
        assert "chat" in paths
        assert paths.keys() <= {"chat", "chat_stream", "embeddings", "models", "inference_profiles"}
        assert all(path.startswith("/") for path in paths.values())
    assert not any(".." in path for path in vendor.paths.values())
    assert vendor.elsewhere.keys() <= vendor.paths.keys()
    assert vendor.needs_api_version == any("{api_version}" in path for path in vendor.paths.values())


@each_vendor
def test_a_vendor_of_aws_has_regions_and_a_name_to_sign_with(vendor: Vendor) -> None:
    assert vendor.needs_region == ("{region}" in (vendor.base_url or ""))
    assert (vendor.credential == "aws") == vendor.needs_region == bool(vendor.signing_name)


@each_vendor
def test_a_vendor_that_is_found_by_its_key_needs_no_more_than_it(vendor: Vendor) -> None:
    assert not vendor.models or vendor.base_url
    assert not vendor.key_required or vendor.env
    assert not vendor.env or vendor.credential != "none"


@each_vendor
def test_the_documentation_stands_above_each_row(vendor: Vendor) -> None:
    comment = re.search(rf"((?:^#.*\n)+){vendor.name}:\n", TABLE, re.MULTILINE)
    assert comment
    assert "https://" in comment[1] or vendor.in_process


def test_an_environment_variable_belongs_to_one_vendor() -> None:
    names = [name for vendor in VENDORS.values() for name in vendor.env]
    assert len(names) == len(set(names))


def test_no_two_vendors_publish_the_same_model() -> None:
    patterns = [(vendor.name, pattern) for vendor in VENDORS.values() for pattern in vendor.models]
    for (_, one), (_, other) in itertools.combinations(patterns, 2):
        assert one.count("*") <= 1
        shorter, longer = sorted((one.rstrip("*"), other.rstrip("*")), key=len)
        assert not longer.startswith(shorter)


@pytest.mark.parametrize("base", ["https://api.openai.com/v1", "https://api.openai.com/v1/"])
def test_a_path_is_joined_to_the_base_url_with_or_without_a_slash(base: str) -> None:
    assert urls(VENDORS["openai"], base, "gpt-4o", None)["chat"] == "https://api.openai.com/v1/chat/completions"


def test_azure_names_the_deployment_and_the_version_in_the_path() -> None:
    made = urls(VENDORS["azure"], "https://x.openai.azure.com", "my gpt/4", "2024-10-21")
    assert made["chat"] == (
        "https://x.openai.azure.com/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21"
    )


def test_azures_newer_api_names_the_model_in_the_body() -> None:
    made = urls(VENDORS["azure"], "https://x.openai.azure.com/openai/v1/", "gpt", None)
    assert made["chat"] == "https://x.openai.azure.com/openai/v1/chat/completions"


@pytest.mark.parametrize("model", ["", ".", ".."])
def test_a_model_name_cannot_climb_out_of_its_path(model: str) -> None:
    with pytest.raises(ValueError, match="cannot be a model's name"):
        urls(VENDORS["azure"], "https://x.openai.azure.com", model, "1")


@pytest.mark.parametrize(
    ("vendor", "operation", "url"),
    [
        ("anthropic", "chat", "https://api.anthropic.com/v1/messages"),
        ("anthropic", "models", "https://api.anthropic.com/v1/models"),
        ("gemini", "chat", "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent"),
        (
            "gemini",
            "chat_stream",
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent?alt=sse",
        ),
        ("gemini", "embeddings", "https://generativelanguage.googleapis.com/v1beta/models/m:batchEmbedContents"),
        ("cohere", "chat", "https://api.cohere.com/v2/chat"),
        ("cohere", "embeddings", "https://api.cohere.com/v2/embed"),
        ("cohere", "models", "https://api.cohere.com/v1/models"),
        ("mistral", "embeddings", "https://api.mistral.ai/v1/embeddings"),
    ],
)
def test_each_api_has_its_own_paths(vendor: str, operation: str, url: str) -> None:
    row = VENDORS[vendor]
    assert urls(row, own_base_url(row, None), "m", None)[operation] == url


ARN = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0"
ENCODED = "arn%3Aaws%3Abedrock%3Aus-east-1%3A123456789012%3Ainference-profile%2Fus.anthropic.claude-v1%3A0"


def test_bedrock_names_the_region_in_its_host_and_any_model_in_its_path() -> None:
    made = urls(VENDORS["bedrock"], own_base_url(VENDORS["bedrock"], "us-east-1"), ARN, None, "us-east-1")
    assert made == {
        "chat": f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{ENCODED}/converse",
        "chat_stream": f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{ENCODED}/converse-stream",
        "embeddings": f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{ENCODED}/invoke",
        "models": "https://bedrock.us-east-1.amazonaws.com/foundation-models",
        "inference_profiles": "https://bedrock.us-east-1.amazonaws.com/inference-profiles",
    }


def test_an_endpoint_of_ones_own_is_asked_for_everything() -> None:
    made = urls(VENDORS["bedrock"], "https://vpce.example/aws/", "m", None, "us-east-1")
    assert made["chat"] == "https://vpce.example/aws/model/m/converse"
    assert made["models"] == "https://vpce.example/aws/foundation-models"


def test_cohere_behind_another_address_lists_its_models_beside_the_second_version() -> None:
    made = urls(VENDORS["cohere"], "https://proxy.example/cohere/v2", "m", None)
    assert made["models"] == "https://proxy.example/cohere/v1/models"
    assert urls(VENDORS["cohere"], "https://proxy.example", "m", None)["models"] == "https://proxy.example/models"
