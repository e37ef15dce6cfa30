"""What a start without a file makes of the environment."""

from __future__ import annotations

from gateway.config.environment import as_text, from_environment
from gateway.config.resolve import loads
from gateway.config.snapshot import Snapshot

SECRET = "sk-of-the-environment"


def lead_to(snapshot: Snapshot, name: str) -> list[tuple[str, str]]:
    found = snapshot.model(name)
    return [(target.provider, target.model) for target in found.targets] if found else []


def test_with_nothing_set_the_echo_answers() -> None:
    snapshot, found = from_environment({}, ollama=False)
    assert [str(each) for each in found] == ["echo: echo/*, echo"]
    assert lead_to(snapshot, "echo") == [("echo", "echo")]
    assert not snapshot.keys


def test_a_key_makes_a_provider_with_its_well_known_models() -> None:
    snapshot, found = from_environment({"OPENAI_API_KEY": SECRET}, ollama=False)
    assert str(found[0]) == "openai (OPENAI_API_KEY): openai/*, gpt-*, chatgpt-*, o1*, o3*, o4*"
    assert lead_to(snapshot, "gpt-4o") == [("openai", "gpt-4o")]
    assert lead_to(snapshot, "openai/gpt-4o") == [("openai", "gpt-4o")]
    key = snapshot.providers["openai"].api_key
    assert key is not None
    assert key.reveal() == SECRET


def test_any_of_the_names_that_people_use_for_a_key_will_do() -> None:
    _, found = from_environment({"TOGETHERAI_API_KEY": SECRET}, ollama=False)
    assert (found[0].provider, found[0].variable) == ("together", "TOGETHERAI_API_KEY")


def test_an_empty_variable_is_as_good_as_none() -> None:
    _, found = from_environment({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}, ollama=False)
    assert [each.provider for each in found] == ["echo"]


def test_an_ollama_that_answers_is_published() -> None:
    snapshot, _ = from_environment({}, ollama=True)
    assert lead_to(snapshot, "ollama/llama3.2") == [("ollama", "llama3.2")]


def test_azure_needs_its_endpoint_too() -> None:
    environ = {"AZURE_OPENAI_API_KEY": SECRET, "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com/"}
    snapshot, _ = from_environment(environ, ollama=False)
    assert lead_to(snapshot, "azure/my-deployment") == [("azure", "my-deployment")]
    assert snapshot.providers["azure"].base_url == "https://x.openai.azure.com"
    assert snapshot.providers["azure"].api_version == "2024-10-21"
    snapshot, _ = from_environment({**environ, "OPENAI_API_VERSION": "2025-01-01"}, ollama=False)
    assert snapshot.providers["azure"].api_version == "2025-01-01"


def test_what_cannot_be_used_is_told_and_stops_nothing() -> None:
    environ = {"AZURE_OPENAI_API_KEY": SECRET, "GROQ_API_KEY": f"{SECRET}\nx", "DEEPSEEK_API_KEY": SECRET}
    snapshot, found = from_environment(environ, ollama=False)
    notes = {each.provider: each.note for each in found if each.note}
    assert notes == {
        "azure": "AZURE_OPENAI_API_KEY is set, but the environment variable AZURE_OPENAI_ENDPOINT is not set",
        "groq": "GROQ_API_KEY is set, but the value holds a character that a header cannot carry: "
        "a line break, a space at an end, or not ASCII",
    }
    assert set(snapshot.providers) == {"deepseek", "echo"}


def test_a_key_for_a_type_of_later_is_told() -> None:
    _, found = from_environment({"ANTHROPIC_API_KEY": SECRET}, ollama=False)
    told = "anthropic: ANTHROPIC_API_KEY is set, but the type anthropic is not supported yet"
    assert str(found[-1]) == told


def test_what_was_found_can_be_written_as_a_file_without_a_secret() -> None:
    environ = {"OPENAI_API_KEY": SECRET, "GROQ_API_KEY": SECRET}
    snapshot, found = from_environment(environ, ollama=True)
    text = as_text(found)
    assert SECRET not in text
    assert loads(text, name="gateway.yaml", environ=environ) == snapshot
