"""A unit with workers and their supervisor, who starts at once what has ended; what a fault may lay hands on."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streams.broker.kafka import EmbeddedKafka
from tests.integration.unit_under_test import UnitUnderTest
from tests.integration.worker_process import COMMAND, WorkerProcess, until

#: A start that takes longer than this is a hang.
READY_S = 40.0


@dataclass
class Post:
    """A place for a worker: when one ends, the supervisor starts the next."""

    worker: WorkerProcess
    wanted: bool = True


@dataclass
class Scene:
    """What is on stage.

    Attributes:
        rng: all chance of a fault comes from here.
        broker: where the run has one of its own.
        injuries: when (wall clock) work began to recover: a worker was killed or told to stop, a broker was back;
            and whether that worker had not yet come to own anything.
        joins: from when to when a worker was joining, and nothing else was done.
        notes: what a reader of the figures should know.
    """

    unit: UnitUnderTest
    rng: random.Random
    command: Sequence[str | Path] = (COMMAND, "worker")
    broker: EmbeddedKafka | None = None
    posts: list[Post] = field(default_factory=list)
    injuries: list[tuple[float, bool]] = field(default_factory=list)
    joins: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Set when the feed has sent all but the last.
    played: asyncio.Event = field(default_factory=asyncio.Event)

    def hire(self) -> Post:
        """One more worker."""
        post = Post(self._worker())
        self.posts.append(post)
        return post

    def _worker(self) -> WorkerProcess:
        return self.unit.worker(*self.command)

    async def supervise(self) -> None:
        """Start at once what has ended."""
        while True:
            for post in self.posts:
                if post.wanted and not post.worker.running:
                    if post.worker.process.returncode not in (0, -signal.SIGKILL):
                        self.notes.append(f"a worker gave up and was started anew: {_last_error(post.worker)}")
                    post.worker = self._worker()
            await asyncio.sleep(0.02)

    async def ready(self, *posts: Post) -> None:
        """Wait until workers are ready, whoever holds the posts by then."""
        for post in posts or self.posts:

            async def look(post: Post = post) -> bool:
                return (await post.worker.get("/readyz"))[0] == 200

            try:
                await until(look, READY_S, "a worker to be ready")
            except AssertionError as error:
                raise AssertionError(f"{error}\n{post.worker.said[-4000:]}") from None

    async def until_owner(self, post: Post) -> None:
        """Wait until a worker owns partitions, or is no more."""

        def look() -> bool:
            return "owns partitions" in post.worker.said or not post.worker.running

        with contextlib.suppress(AssertionError):
            await until(look, 20, "partitions", every=0.02)

    def injured(self, *, starting: bool = False) -> None:
        """Note that work has to recover from now on."""
        self.injuries.append((time.time(), starting))

    def kill(self, post: Post) -> None:
        """`kill -9`; the supervisor sees it."""
        self.injured(starting="owns partitions" not in post.worker.said)
        post.worker.process.kill()

    async def terminate(self, post: Post, *, again: bool = True) -> None:
        """SIGTERM; started anew when it has ended, where wanted."""
        post.wanted = again
        self.injured()
        post.worker.process.send_signal(signal.SIGTERM)
        worker = post.worker
        await until(lambda: not worker.running, 30, "a worker to end", every=0.02)
        if not again:
            self.posts.remove(post)

    @contextlib.asynccontextmanager
    async def frozen(self, post: Post) -> AsyncIterator[None]:
        """SIGSTOP, and SIGCONT after the block."""
        pid = post.worker.process.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            if post.worker.running:
                os.kill(pid, signal.SIGCONT)

    async def dismiss(self) -> None:
        """All workers end in order; what does not is killed, and that is noted."""
        posts, self.posts = self.posts, []
        for post in posts:
            if post.worker.running:
                post.worker.process.send_signal(signal.SIGTERM)
        for post in posts:
            try:
                await post.worker.ended(20)
            except AssertionError:
                self.notes.append("a worker had to be killed at the end")
                post.worker.kill()


def _last_error(worker: WorkerProcess) -> str:
    """What a worker's log ends with: its last error, or its last line."""
    errors = [line for line in worker.lines if " ERROR " in line or "Error" in line]
    return (errors or worker.lines or ["it said nothing"])[-1][:200]
