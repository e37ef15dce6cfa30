"""What the gateway serves at /dashboard, and what stands in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway.config.vendor_table import VENDORS
from gateway.web.dashboard import KINDS, contents
from tests.house.harness import config, gateway
from tests.test_architecture import LONGEST_FILE

PACKAGE = Path(__file__).parent.parent.parent / "gateway"
STATIC = PACKAGE / "web" / "dashboard" / "static"
FILES = sorted(file for file in STATIC.rglob("*") if file.is_file())
SCRIPTS = [file for file in FILES if file.suffix == ".mjs"]
NODE = shutil.which("node")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Of a gateway that has neither admin tokens nor a database."""
    async with gateway(config("http://127.0.0.1:1")) as running:
        yield running.client


def named(files: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("file", files, ids=[str(file.relative_to(STATIC)) for file in files])


async def test_the_page_may_load_nothing_of_anybody_elses_and_nothing_inline(client: httpx.AsyncClient) -> None:
    page = await client.get("/dashboard")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
    }
    assert (page.headers["x-content-type-options"], page.headers["referrer-policy"]) == ("nosniff", "no-referrer")


async def test_everything_is_sent_as_what_it_is_and_only_once_while_it_stays_the_same(
    client: httpx.AsyncClient,
) -> None:
    for path, file in contents().items():
        first = await client.get(f"/dashboard/{path}")
        assert (first.status_code, first.content) == (200, file.body), path
        assert first.headers["content-type"] == KINDS[path.rpartition(".")[2]]
        assert first.headers["cache-control"] == "no-cache"
        again = await client.get(f"/dashboard/{path}", headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])


async def test_a_slash_at_the_end_leads_to_the_page_wherever_that_is(client: httpx.AsyncClient) -> None:
    answer = await client.get("/dashboard/")
    assert (answer.status_code, answer.headers["location"]) == (307, "../dashboard")


@pytest.mark.parametrize(
    "path", ["nothing.mjs", "../__init__.py", "..%2f__init__.py", "%2fetc%2fpasswd", "kit", "kit/"]
)
async def test_nothing_else_is_there(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(f"/dashboard/{path}")
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "invalid_request_error")


async def test_nothing_can_be_sent_to_it(client: httpx.AsyncClient) -> None:
    assert (await client.post("/dashboard", content=b"x")).status_code == 405


async def test_the_form_for_a_provider_knows_every_type(client: httpx.AsyncClient) -> None:
    types = (await client.get("/dashboard/types.json")).json()
    assert types.keys() == VENDORS.keys()
    assert types["bedrock"]["needs_region"]
    assert types["azure"]["base_url"] is None


def test_everything_in_the_folder_is_served() -> None:
    assert {str(file.relative_to(STATIC)) for file in FILES} == contents().keys() - {"types.json"}


@named(FILES)
def test_a_file_can_be_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text().splitlines()) <= LONGEST_FILE


@named(FILES)
def test_what_is_data_never_becomes_markup_or_code_or_a_style(file: Path) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|srcdoc"
        r"|\beval\b|\bFunction\(|javascript:|setAttribute\('style|[< ]style[=:]|\bon[a-z]+=\""
    )
    assert re.findall(forbidden, file.read_text()) == []


@named(FILES)
def test_no_address_leads_away_or_begins_at_the_root(file: Path) -> None:
    text = file.read_text().replace("http://www.w3.org/2000/svg", "")
    loaded = re.findall(r"""(?:src|href)="([^"]*)"|fetch\(\s*['"`]([^'"`]*)|from '([^']*)'|url\(([^)]*)\)""", text)
    found = [next(filter(None, each), "") for each in loaded]
    assert [each for each in found if re.match(r"(?!data:)[a-z]+:|/", each)] == []


@named(SCRIPTS)
def test_a_script_says_what_it_is(file: Path) -> None:
    assert file.read_text().startswith("/*")


@pytest.mark.skipif(NODE is None, reason="no node")
@named(SCRIPTS)
def test_a_script_can_be_read(file: Path) -> None:
    assert NODE is not None
    done = subprocess.run([NODE, "--check", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(NODE is None, reason="no node")
def test_what_the_api_tells_gets_the_shape_that_views_draw() -> None:
    assert NODE is not None
    done = subprocess.run(
        [NODE, "--test", Path(__file__).parent / "shape.test.mjs"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_its_package_has_all_of_it() -> None:
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]
    packed = {
        each.relative_to(PACKAGE) for pattern in settings["package-data"]["gateway"] for each in PACKAGE.glob(pattern)
    }
    assert {file.relative_to(PACKAGE) for file in FILES} <= packed


COLOUR = re.compile(r"--([a-z-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)")
LETTERS = {
    "ink": ("ground", "paper", "raised"),
    "faint": ("ground", "paper", "raised"),
    "accent": ("paper", "raised"),
    "on-accent": ("accent",),
    "good": ("good-ground",),
    "warn": ("warn-ground",),
    "bad": ("bad-ground", "paper"),
}
"""Colours of letters, and what they stand on."""


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_letters_stand_out_from_what_they_stand_on(scheme: int) -> None:
    """4.5 to 1: https://www.w3.org/TR/WCAG22/#contrast-minimum."""
    colours = {name: (light, dark)[scheme] for name, light, dark in COLOUR.findall((STATIC / "style.css").read_text())}
    pairs = [(letters, ground) for letters, grounds in LETTERS.items() for ground in grounds]
    assert [pair for pair in pairs if contrast(colours[pair[0]], colours[pair[1]]) < 4.5] == []


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
