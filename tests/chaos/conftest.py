"""Many runs side by side: each worker's log takes a thread."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest


@pytest.fixture(scope="session", autouse=True)
async def threads() -> AsyncIterator[None]:
    with ThreadPoolExecutor(128) as pool:
        asyncio.get_running_loop().set_default_executor(pool)
        yield
