from __future__ import annotations

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.call import Json
from gateway.surfaces.openai_media import Link, inlined, links

PICTURE = "https://pictures.example/cat.png"
PAPER = "https://papers.example/cat.pdf"
DATA = "data:image/png;base64,iVBORw0KGgo="


def asking(*parts: Json) -> Json:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def image(url: str, **more: str) -> Json:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(data: str | None, **more: str) -> Json:
    return {"type": "file", "file": {"file_data": data, **more}}


def test_images_and_files_are_found_with_their_places() -> None:
    body: Json = {
        "messages": [
            {"role": "system", "content": "Look at https://pictures.example."},
            {"role": "user", "content": [{"type": "text", "text": PICTURE}, image(PICTURE)]},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "tool", "tool_call_id": "1", "content": [file(PAPER)]},
        ]
    }
    assert links(body) == [
        Link(PICTURE, "messages[1].content[1]", "image_url"),
        Link(PAPER, "messages[3].content[0]", "file"),
    ]


@pytest.mark.parametrize("url", [PICTURE, "http://pictures.example", "HTTPS://pictures.example", "https:pictures"])
def test_every_spelling_of_a_web_address_is_a_link(url: str) -> None:
    assert [link.url for link in links(asking(image(url)))] == [url]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": PICTURE},
        image(DATA),
        image("gs://bucket/cat.png"),
        image("s3://bucket/cat.png"),
        image(""),
        file("JVBERi0="),
        file(None, file_id="file-1"),
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": PICTURE}},
    ],
)
def test_nothing_else_is_a_link(part: Json) -> None:
    assert links(asking(part)) == []


def test_a_link_gives_way_to_its_file_and_all_else_stays() -> None:
    body = {
        **asking({"type": "text", "text": "Which?"}, image(PICTURE, detail="low"), file(PAPER, filename="a")),
        "n": 1,
    }
    assert inlined(body, {PICTURE: DATA, PAPER: "data:application/pdf;base64,JVBERi0="}) == {
        **asking(
            {"type": "text", "text": "Which?"},
            image(DATA, detail="low"),
            file("data:application/pdf;base64,JVBERi0=", filename="a"),
        ),
        "n": 1,
    }


def test_a_link_that_stands_alone_as_a_string_stays_a_string() -> None:
    bare: Json = {"type": "image_url", "image_url": PICTURE}
    assert [link.url for link in links(asking(bare))] == [PICTURE]
    assert inlined(asking(bare), {PICTURE: DATA}) == asking({"type": "image_url", "image_url": DATA})


SOURCES = st.sampled_from([PICTURE, PAPER, DATA, "gs://bucket/cat.png"])
PARTS = st.one_of(st.just({"type": "text", "text": PICTURE}), SOURCES.map(image), SOURCES.map(file))
CONTENTS = st.one_of(st.none(), st.text(max_size=3), st.lists(PARTS, max_size=4))
BODIES = st.lists(CONTENTS.map(lambda content: {"role": "user", "content": content}), max_size=4).map(
    lambda messages: {"messages": messages}
)


@given(BODIES)
def test_no_link_is_left_and_the_request_itself_is_never_edited(body: Json) -> None:
    before = deepcopy(body)
    after = inlined(body, {PICTURE: DATA, PAPER: DATA})
    assert body == before
    assert links(after) == []
    assert str(after) == str(body).replace(f"url': '{PICTURE}", f"url': '{DATA}").replace(
        f"url': '{PAPER}", f"url': '{DATA}"
    ).replace(f"file_data': '{PICTURE}", f"file_data': '{DATA}").replace(
        f"file_data': '{PAPER}", f"file_data': '{DATA}"
    )


def test_addresses_that_a_provider_reads_by_itself_are_left() -> None:
    body = asking(image(PICTURE), image("https://videos.example/1"))
    assert [link.url for link in links(body, ("https://videos.example/",))] == [PICTURE]
