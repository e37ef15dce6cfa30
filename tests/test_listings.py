"""What the lists of models say, in each API's own words."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Failure, UpstreamError
from gateway.dialects.listings import LISTINGS, Page, listing, page_url, read_page

URL = "https://api.example/v1/models"


def page(dialect: str, content: object) -> Page:
    return read_page(listing(dialect), orjson.dumps(content))


@pytest.mark.parametrize(
    ("who", "content"),
    [
        ("OpenAI", {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}),
        ("Together, without an envelope", [{"id": "a"}, {"id": "b"}]),
        ("llama.cpp, with Ollama's list beside it", {"data": [{"id": "a"}, {"id": "b"}], "models": [{"name": "a"}]}),
    ],
)
def test_names_are_read_as_openai_and_its_followers_write_them(who: str, content: object) -> None:
    assert page("openai_chat", content) == Page(("a", "b"), ())


def test_an_empty_list_of_ollama_is_null() -> None:
    assert page("openai_chat", {"object": "list", "data": None}) == Page((), ())


def test_models_of_mistral_that_can_only_do_something_else_are_left_out() -> None:
    chats = {"completion_chat": True, "ocr": False}
    reads = {"completion_chat": False, "ocr": True}
    embeds = {"completion_chat": False, "ocr": False}
    data = [{"id": name, "capabilities": can} for name, can in (("chat", chats), ("ocr", reads), ("embed", embeds))]
    assert page("openai_chat", {"data": data}).models == ("chat", "embed")


def test_anthropic_goes_on_after_its_last_model() -> None:
    assert page("anthropic", {"data": [{"id": "c1"}], "has_more": True, "last_id": "c1"}) == (
        ("c1",),
        (("after_id", "c1"),),
    )
    assert page("anthropic", {"data": [{"id": "c2"}], "has_more": False, "last_id": "c2"}) == (("c2",), ())


def test_gemini_names_resources_and_says_what_each_can_do() -> None:
    methods = {"a": ["generateContent", "countTokens"], "b": ["embedContent"], "c": ["predict"]}
    listed = [{"name": f"models/{name}", "supportedGenerationMethods": can} for name, can in methods.items()]
    found = page("gemini", {"models": [*listed, {"name": "models/d"}], "nextPageToken": "t"})
    assert found == (("a", "b", "d"), (("pageToken", "t"),))


def test_a_last_page_of_gemini_may_be_empty() -> None:
    assert page("gemini", {}) == Page((), ())


def test_cohere_says_what_each_model_is_for() -> None:
    endpoints: dict[str, list[str]] = {"a": ["chat"], "b": ["embed"], "c": ["rerank"], "d": []}
    listed = [{"name": name, "endpoints": those} for name, those in endpoints.items()]
    assert page("cohere", {"models": listed, "next_page_token": "t"}) == (("a", "b", "d"), (("page_token", "t"),))


def test_bedrock_lists_what_can_be_called_by_name() -> None:
    def model(name: str, output: str, inference: str) -> dict[str, Any]:
        return {"modelId": name, "outputModalities": [output], "inferenceTypesSupported": [inference]}

    models = [
        model("text", "TEXT", "ON_DEMAND"),
        model("vector", "EMBEDDING", "ON_DEMAND"),
        model("image", "IMAGE", "ON_DEMAND"),
        model("reserved", "TEXT", "PROVISIONED"),
        model("by-profile", "TEXT", "INFERENCE_PROFILE"),
    ]
    assert page("bedrock", {"modelSummaries": models}) == Page(("text", "vector"), ())


def test_bedrocks_profiles_come_in_pages() -> None:
    profiles = {"inferenceProfileSummaries": [{"inferenceProfileId": "us.text"}], "nextToken": "a/b="}
    found = page("bedrock", profiles)
    assert found.models == ("us.text",)
    assert page_url(listing("bedrock"), URL, found.more) == f"{URL}?nextToken=a%2Fb%3D"


def test_pages_are_asked_for_as_long_as_each_api_allows() -> None:
    urls = {dialect: page_url(manner, URL).removeprefix(URL) for dialect, manner in LISTINGS.items()}
    assert urls == {
        "openai_chat": "",
        "mistral": "",
        "anthropic": "?limit=1000",
        "gemini": "?pageSize=1000",
        "cohere": "?page_size=1000",
        "bedrock": "",
    }
    assert page_url(listing("gemini"), URL, (("pageToken", "t"),)) == f"{URL}?pageSize=1000&pageToken=t"


def test_a_query_that_is_there_already_is_kept() -> None:
    assert page_url(listing("anthropic"), f"{URL}?api-version=1") == f"{URL}?api-version=1&limit=1000"


def test_a_dialect_without_a_manner_of_its_own_lists_like_openai() -> None:
    assert listing("something_new") is listing("openai_chat")


NAMES = st.sampled_from(
    [
        *("data", "id", "models", "name", "capabilities", "completion_chat", "has_more", "last_id", "nextPageToken"),
        *("supportedGenerationMethods", "endpoints", "next_page_token", "modelSummaries", "inferenceProfileSummaries"),
        *("modelId", "inferenceTypesSupported", "outputModalities", "nextToken", "inferenceProfileId"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(dialect=st.sampled_from(sorted(LISTINGS)), content=JSON)
def test_whatever_comes_is_a_list_or_an_upstreams_failure(dialect: str, content: object) -> None:
    try:
        found = page(dialect, content)
    except UpstreamError as error:
        assert error.failure is Failure.MALFORMED  # noqa: PT017  either outcome is right
    else:
        assert all(found.models)
        page_url(listing(dialect), URL, found.more)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"data": {"a": 1}}', b'{"data": [{"id": ""}]}', b'"data"'])
def test_what_is_no_list_is_malformed(body: bytes) -> None:
    with pytest.raises(UpstreamError) as failed:
        read_page(listing("openai_chat"), body)
    assert failed.value.failure is Failure.MALFORMED
