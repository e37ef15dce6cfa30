"""A real Chromium with the dashboard in it, and everything that it complained of."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from playwright.async_api import ConsoleMessage, Locator, Page, async_playwright, expect

from tests.house.admin import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome")

CHROMIUM = next((found for name in NAMES if (found := shutil.which(name))), None)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium: apt-get install --no-install-recommends chromium"
)

ALONE = (
    "--no-sandbox",  # it opens nothing but pages of this test
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

WIDE = (1280, 860)

SECONDS = 20.0
"""How long something may take to be seen, on a busy machine."""


@dataclass
class Tab:
    """A page, and what its user does with it."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)
    """What it wrote to its console as an error, and what it threw."""

    async def sign_in(self, token: str = ROOT) -> None:
        await self.page.goto(self.url)
        await self.type(token)
        await expect(self.page.get_by_role("navigation", name="Views")).to_be_visible()

    async def type(self, token: str) -> None:
        """Into the form that asks for one."""
        await self.page.get_by_label("Admin token").fill(token)
        await self.page.get_by_role("button", name="Sign in").click()

    async def view(self, title: str) -> None:
        """Goes to a view by its link."""
        await self.page.get_by_role("link", name=title, exact=True).click()
        await expect(self.page.get_by_role("heading", name=title, exact=True, level=1)).to_be_visible()
        await self.drawn()

    async def drawn(self) -> None:
        """Until the view is what was asked for last."""
        await expect(self.page.locator("main[aria-busy=false]")).to_be_visible()

    async def press(self, name: str, within: Locator | None = None) -> None:
        await (within or self.page.locator("body")).get_by_role("button", name=name, exact=True).click()

    def dialog(self, title: str) -> Locator:
        return self.page.get_by_role("dialog", name=title)

    async def is_told(self, words: str) -> None:
        """That something was done."""
        await expect(self.page.locator("#told")).to_contain_text(words)

    def unexpected(self) -> list[str]:
        """Complaints, but for those of the network about answers that are refusals."""
        return [each for each in self.complaints if not each.startswith("Failed to load resource")]


@asynccontextmanager
async def tab(url: str, *, size: tuple[int, int] = WIDE, dark: bool = False) -> AsyncIterator[Tab]:
    """A new browser, with one tab in which nothing is open yet."""
    expect.set_options(timeout=SECONDS * 1000)
    async with async_playwright() as tools:
        browser = await tools.chromium.launch(executable_path=CHROMIUM, args=list(ALONE))
        try:
            page = await browser.new_page(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if dark else "light",
                locale="en-GB",
                timezone_id="UTC",
            )
            page.set_default_timeout(SECONDS * 1000)
            found = Tab(page, url)
            page.on("console", lambda message: _heard(found, message))
            page.on("pageerror", lambda error: found.complaints.append(str(error)))
            yield found
        finally:
            await browser.close()


def _heard(tab: Tab, message: ConsoleMessage) -> None:
    if message.type in ("error", "warning"):
        tab.complaints.append(message.text)
