"""A server and a page of its own for each test of the pages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Page

from tests.board_front.browser import watched_page
from tests.board_front.fake_server import FakeBoard


@pytest.fixture
async def board() -> AsyncIterator[FakeBoard]:
    async with FakeBoard() as server:
        yield server


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that fails the test if a script failed, or if something was refused by the policy."""
    async with watched_page(browser) as opened:
        yield opened
