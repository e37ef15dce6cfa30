"""What a start without a file makes of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from gateway.config.environment import Found, as_text, from_environment
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot
from gateway.core.secret import Secret
from gateway.wire.sigv4 import AwsKeys

SECRET = "sk-of-the-environment"


def found_in(environ: Mapping[str, str], *, ollama: bool = False) -> tuple[Snapshot, tuple[Found, ...]]:
    loaded, found = from_environment(environ, ollama=ollama)
    return loaded.snapshot, found


def lead_to(snapshot: Snapshot, name: str) -> list[tuple[str, str]]:
    found = snapshot.model(name)
    return [(target.provider, target.model) for target in found.targets] if found else []


def test_with_nothing_set_the_echo_answers() -> None:
    snapshot, found = found_in({})
    assert [str(each) for each in found] == ["echo: echo/*, echo"]
    assert lead_to(snapshot, "echo") == [("echo", "echo")]
    assert not snapshot.keys


def test_a_key_makes_a_provider_with_its_well_known_models() -> None:
    snapshot, found = found_in({"OPENAI_API_KEY": SECRET})
    assert str(found[0]) == "openai (OPENAI_API_KEY): openai/*, gpt-*, chatgpt-*, o1*, o3*, o4*, text-embedding-*"
    assert lead_to(snapshot, "gpt-4o") == [("openai", "gpt-4o")]
    assert lead_to(snapshot, "openai/gpt-4o") == [("openai", "gpt-4o")]
    key = snapshot.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == SECRET


def test_any_of_the_names_that_people_use_for_a_key_will_do() -> None:
    _, found = found_in({"TOGETHERAI_API_KEY": SECRET})
    assert (found[0].provider, found[0].source) == ("together", "TOGETHERAI_API_KEY")


def test_an_empty_variable_is_as_good_as_none() -> None:
    _, found = found_in({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""})
    assert [each.provider for each in found] == ["echo"]


def test_an_ollama_that_answers_is_published() -> None:
    snapshot, _ = found_in({}, ollama=True)
    assert lead_to(snapshot, "ollama/llama3.2") == [("ollama", "llama3.2")]


def test_azure_needs_its_endpoint_too() -> None:
    environ = {"AZURE_OPENAI_API_KEY": SECRET, "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/"}
    snapshot, _ = found_in(environ)
    assert lead_to(snapshot, "azure/my-deployment") == [("azure", "my-deployment")]
    assert snapshot.providers["azure"].base_url == "https://x.openai.azure.com"
    assert snapshot.providers["azure"].api_version == "2024-10-21"
    snapshot, _ = found_in({**environ, "OPENAI_API_VERSION": "2025-01-01"})
    assert snapshot.providers["azure"].api_version == "2025-01-01"


def test_what_cannot_be_used_is_told_and_stops_nothing() -> None:
    environ = {"AZURE_OPENAI_API_KEY": SECRET, "GROQ_API_KEY": f"{SECRET}\nx", "DEEPSEEK_API_KEY": SECRET}
    snapshot, found = found_in(environ)
    notes = {each.provider: each.note for each in found if each.note}
    assert notes == {
        "azure": "AZURE_OPENAI_API_KEY is set, but the environment variable AZURE_OPENAI_ENDPOINT is not set",
        "groq": "GROQ_API_KEY is set, but the value holds a character that a header cannot carry: "
        "a line break, a space at an end, or not ASCII",
    }
    assert set(snapshot.providers) == {"deepseek", "echo"}


@pytest.mark.parametrize(
    ("variable", "model", "provider"),
    [
        ("ANTHROPIC_API_KEY", "claude-opus-4-5", "anthropic"),
        ("MISTRAL_API_KEY", "mistral-large-latest", "mistral"),
        ("CO_API_KEY", "command-a-03-2025", "cohere"),
        ("COHERE_API_KEY", "command-a-03-2025", "cohere"),
        ("GEMINI_API_KEY", "gemini-2.5-pro", "gemini"),
        ("GOOGLE_API_KEY", "gemini-2.5-pro", "gemini"),
    ],
)
def test_a_vendor_of_another_grammar_is_found_by_its_key(variable: str, model: str, provider: str) -> None:
    snapshot, _ = found_in({variable: SECRET})
    assert lead_to(snapshot, model) == lead_to(snapshot, f"{provider}/{model}") == [(provider, model)]


ACCESS_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": SECRET}
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"


@pytest.mark.parametrize("region", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_bedrock_is_found_by_access_keys_and_a_region(region: str) -> None:
    snapshot, found = found_in({**ACCESS_KEYS, region: "eu-central-1"})
    assert (found[0].provider, found[0].source) == ("bedrock", "AWS_ACCESS_KEY_ID")
    assert lead_to(snapshot, MODEL) == [("bedrock", MODEL)]
    provider = snapshot.providers["bedrock"]
    assert provider.base_url == "https://bedrock-runtime.eu-central-1.amazonaws.com"
    assert provider.aws_keys == AwsKeys("AKIAEXAMPLE", Secret(SECRET))


def test_bedrock_is_found_by_a_key_of_its_own() -> None:
    environ = {**ACCESS_KEYS, "AWS_BEARER_TOKEN_BEDROCK": "ABSK", "AWS_REGION": "us-east-1"}
    snapshot, _ = found_in(environ)
    assert snapshot.providers["bedrock"].api_key == Secret("ABSK")
    assert snapshot.providers["bedrock"].aws_keys is None


@pytest.mark.parametrize(
    "variable", ["AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI"]
)
def test_bedrock_is_found_by_a_profile_or_a_role(variable: str) -> None:
    snapshot, _ = found_in({variable: "x", "AWS_REGION": "us-east-1"})
    provider = snapshot.providers["bedrock"]
    assert (provider.aws_keys, provider.api_key, provider.aws_profile) == (None, None, None)


def test_bedrock_is_found_by_the_file_of_credentials_once_a_region_is_set(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "AWS_REGION": "us-east-1"}
    assert "bedrock" not in found_in(environ)[0].providers
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").touch()
    assert "bedrock" in found_in(environ)[0].providers
    assert "bedrock" not in found_in({"HOME": str(tmp_path)})[0].providers


@pytest.mark.parametrize(
    ("environ", "note"),
    [
        (ACCESS_KEYS, "AWS_ACCESS_KEY_ID is set, but the environment variable AWS_REGION is not set"),
        (
            {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_REGION": "us-east-1"},
            "AWS_ACCESS_KEY_ID is set, but the environment variable AWS_SECRET_ACCESS_KEY is not set",
        ),
    ],
)
def test_what_bedrock_lacks_is_told(environ: dict[str, str], note: str) -> None:
    snapshot, found = found_in(environ)
    assert [each.note for each in found if each.provider == "bedrock"] == [note]
    assert set(snapshot.providers) == {"echo"}


def test_what_was_found_can_be_written_as_a_file_without_a_secret() -> None:
    environ = {"OPENAI_API_KEY": SECRET, "GROQ_API_KEY": SECRET, **ACCESS_KEYS, "AWS_REGION": "us-east-1"}
    snapshot, found = found_in(environ, ollama=True)
    text = as_text(found)
    assert SECRET not in text
    assert loads(text, name="gateway.yaml", environ=environ) == snapshot
