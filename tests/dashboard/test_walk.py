"""What people do with the dashboard, in a real browser: everything that they see is what the gateway did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="playwright is not installed")

from playwright.async_api import Locator, expect

from gateway.app.reload import Source
from gateway.config.resolve import load_all
from gateway.simulator.faults import Faults
from gateway.simulator.server import Simulator
from tests.dashboard.browser import Tab, needs_chromium, tab
from tests.dashboard.proxy import below
from tests.house.admin import Managed, configuration, managed, token
from tests.house.harness import KEY, config, gateway

pytestmark = needs_chromium

SECRET = "sk-of-the-provider-that-is-added"
HOSTILE = "<img src=x onerror=document.title='taken-over'>"
PREFIX = "/tools/llm"
NAMELESS = """[...document.querySelectorAll('input, select, textarea, button, a')]
  .filter((each) => !each.textContent.trim() && !each.labels?.length && !each.getAttribute('aria-label'))
  .map((each) => each.outerHTML)"""
"""What a screen reader could say nothing of."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Managed]:
    async with managed(tmp_path) as found:
        yield found


@pytest.fixture
async def upstream() -> AsyncIterator[Simulator]:
    async with Simulator(api_key=SECRET, models=("gpt-4o", HOSTILE)) as running:
        yield running


def address(here: Managed) -> str:
    return f"http://127.0.0.1:{here.running.port}/dashboard"


async def test_a_provider_is_added_tested_and_mended_and_a_key_is_made_used_and_revoked(
    here: Managed, upstream: Simulator
) -> None:
    async with tab(address(here)) as there:
        await walk(there, upstream)


async def test_all_of_it_works_below_a_path_of_a_proxy(here: Managed, upstream: Simulator) -> None:
    async with below(PREFIX, here.running.port) as base, tab(f"{base}/dashboard") as there:
        await walk(there, upstream)
        await there.page.goto(f"{base}/dashboard/")
        assert there.page.url == f"{base}/dashboard"


async def walk(there: Tab, upstream: Simulator) -> None:
    await signing_in(there)
    await adding_a_provider(there, upstream)
    await seeing_it_fail_and_mended(there, upstream)
    key = await making_a_key(there)
    await calling(there)
    await seeing_the_call(there)
    await revoking(there)
    await being_refused(there, key)
    assert there.unexpected() == []
    assert "taken-over" not in await there.page.title()


async def signing_in(there: Tab) -> None:
    await there.page.goto(there.url)
    await there.type("a-token-that-is-not-one")
    await expect(there.page.get_by_role("alert")).to_have_text("This is not a valid admin token.")
    await there.sign_in()


async def adding_a_provider(there: Tab, upstream: Simulator) -> None:
    await there.view("Providers")
    await there.press("Add a provider")
    form = there.dialog("Add a provider")
    await form.get_by_label("Name", exact=True).fill("mine")
    await form.get_by_label("Base URL").fill("not an address")
    await there.press("Save", form)
    await expect(form.locator("[data-fault=base_url]")).not_to_be_empty()
    await form.get_by_label("Base URL").fill(upstream.url)
    await form.get_by_label("API key").fill(SECRET)
    await there.press("Discover models", form)
    await expect(form.get_by_role("row", name=HOSTILE)).to_be_visible()
    await there.press("Publish these 2", form)
    await there.press("Save", form)
    await there.is_told("mine was added.")
    await expect(row(there, "mine")).to_contain_text("api_key is set")


async def seeing_it_fail_and_mended(there: Tab, upstream: Simulator) -> None:
    mine = row(there, "mine")
    for faults, seen in ((Faults(), "well"), (Faults(fail=(("503", 1.0),)), "failed"), (Faults(), "well")):
        upstream.faults = faults
        await there.press("Test mine", mine)
        await expect(mine.locator(".badge", has_text=seen)).to_be_visible()
    await there.view("Models")
    await expect(there.page.get_by_role("heading", name=HOSTILE)).to_be_visible()


async def making_a_key(there: Tab) -> str:
    await there.view("Keys")
    await there.press("Make a key")
    form = there.dialog("Make a key")
    await form.get_by_label("Name", exact=True).fill("visitor")
    await form.get_by_label("Models", exact=True).fill("gpt-4o")
    await form.get_by_label("US dollars").fill("2.5")
    await there.press("Make", form)
    shown = there.dialog("The key visitor")
    key = await shown.get_by_label("The key", exact=True).input_value()
    await expect(row(there, "visitor")).to_contain_text("$0.00 of $2.50 a day resets in")
    await there.press("Try it in the playground", shown)
    return key


async def calling(there: Tab) -> None:
    page = there.page
    await expect(page.get_by_label("Model", exact=True)).to_have_value("gpt-4o")
    await there.press("Send")
    outcome = page.get_by_role("status", name="Outcome")
    await expect(outcome).to_contain_text("answered")
    await expect(outcome).to_contain_text("mine")
    await expect(outcome.get_by_text("$0.000")).to_be_visible()
    await expect(page.get_by_role("region", name="The answer")).not_to_be_empty()


async def seeing_the_call(there: Tab) -> None:
    await there.view("Calls")
    call = row(there, "visitor")
    await expect(call).to_contain_text("200 ok")
    await expect(call).to_contain_text("$0.000")
    await call.get_by_role("button", name="Details").click()
    await expect(there.page.get_by_role("table", name="Attempts")).to_contain_text("mine")
    await there.view("Usage")
    await there.page.get_by_label("By", exact=True).select_option("key")
    await expect(row(there, "visitor")).to_contain_text("$0.000")


async def revoking(there: Tab) -> None:
    await there.view("Keys")
    await there.press("Revoke visitor")
    await there.press("Revoke", there.dialog("Revoke visitor"))
    await there.is_told("visitor was revoked.")
    await expect(row(there, "visitor")).to_have_count(0)
    await there.view("Audit")
    await expect(there.page.get_by_role("table", name="What was changed")).to_contain_text("key.revoke")


async def being_refused(there: Tab, key: str) -> None:
    await there.view("Playground")
    await there.page.get_by_label("Key of a client").fill(key)
    await there.page.get_by_label("Model", exact=True).fill("gpt-4o")
    await there.press("Send")
    refused = there.page.get_by_role("status", name="Outcome").get_by_role("alert")
    await expect(refused).to_contain_text("No valid API key was given")


async def test_who_may_only_look_sees_what_can_be_looked_at_and_nothing_that_fails(here: Managed) -> None:
    async with tab(address(here)) as there:
        await there.sign_in(token("llm_provider.view"))
        assert await there.page.get_by_role("navigation").get_by_role("link").all_inner_texts() == [
            "Overview",
            "Providers",
            "Playground",
        ]
        await there.view("Providers")
        await expect(row(there, "echo")).to_contain_text("test.yaml:")
        assert await there.page.locator("main button").count() == 0
        await there.page.goto(f"{there.url}#/keys")
        await expect(there.page.get_by_role("heading", name="Overview")).to_be_visible()
        await there.press("Sign out")
        await expect(there.page.get_by_label("Admin token")).to_be_visible()
        assert await there.page.evaluate("sessionStorage.length") == 0
        assert there.complaints == []


async def test_a_mistake_in_the_file_is_shown_with_its_place_and_what_to_do_when_it_is_read_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(configuration(None))
    source = Source(file, lambda: load_all(file, {}), every=600)
    async with (
        gateway(file.read_text(), source=source) as running,
        tab(f"http://127.0.0.1:{running.port}/dashboard") as there,
    ):
        await there.sign_in()
        file.write_text(configuration(None).replace("price:", "prise:"))
        await there.view("Configuration")
        await there.press("Reload")
        line = 1 + configuration(None).split("price:")[0].count("\n")
        complaint = there.page.get_by_role("row").filter(has_text=f"gateway.yaml:{line}:5")
        await expect(complaint).to_contain_text("did you mean `price`?")
        await there.view("Overview")
        await expect(there.page.get_by_role("table", name="What is not well now")).to_contain_text("refused")
        assert there.unexpected() == []


async def test_who_has_no_token_or_no_database_yet_is_told_what_to_write() -> None:
    async with (
        gateway(config("http://127.0.0.1:1")) as running,
        managed(None) as without,
        tab(address(without)) as there,
    ):
        await there.page.goto(f"http://127.0.0.1:{running.port}/dashboard")
        await there.type("any-token-that-one-may-have")
        await expect(there.page.get_by_role("alert")).to_contain_text("write admin: {tokens: [...]}")
        await there.sign_in()
        await there.view("Keys")
        await expect(row(there, "tester")).to_be_visible()
        await there.view("Usage")
        await expect(there.page.get_by_role("alert")).to_contain_text("state: {database:")
        assert there.unexpected() == []


async def test_what_clients_say_is_text_and_nothing_else(here: Managed) -> None:
    ask = {"model": "m", "user": HOSTILE, "messages": [{"role": "user", "content": "hello"}]}
    headers = {"authorization": f"Bearer {KEY}", "x-request-id": HOSTILE}
    assert (await here.running.client.post("/v1/chat/completions", json=ask, headers=headers)).status_code == 200
    async with tab(address(here)) as there:
        await there.sign_in()
        await there.view("Calls")
        await row(there, "tester").get_by_role("button", name="Details").click()
        await expect(there.page.get_by_text(HOSTILE).first).to_be_visible()
        assert await there.page.locator("main img").count() == 0
        assert await there.page.title() == "Calls · Gateway"
        assert there.complaints == []


async def test_on_a_telephone_nothing_is_wider_than_the_screen_and_everything_has_a_name(here: Managed) -> None:
    async with tab(address(here), size=(375, 700)) as there:
        await there.sign_in()
        for view in await there.page.get_by_role("navigation").get_by_role("link").all_inner_texts():
            await there.view(view)
            wide = await there.page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 375, f"{view} is {wide} pixels wide"
            assert await there.page.evaluate(NAMELESS) == [], f"something in {view} has no name"


def row(there: Tab, name: str) -> Locator:
    """The row of a table that tells of this one."""
    return there.page.get_by_role("row").filter(has=there.page.get_by_text(name, exact=True)).first
