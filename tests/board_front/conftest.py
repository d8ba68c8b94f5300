"""A Chromium for all tests of the pages, and a page of its own for each."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.board_front.browser import chromium, watched_page
from tests.board_front.fake_server import FakeBoard


@pytest_asyncio.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def board() -> AsyncIterator[FakeBoard]:
    async with FakeBoard() as server:
        yield server


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that fails the test if a script failed, or if something was refused by the policy."""
    async with watched_page(browser) as opened:
        yield opened
