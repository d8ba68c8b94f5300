"""What can go wrong, one object a fault: what it promises, what it needs, and how it is brought about.

A fault ends its mischief when the feed has been played; its schedule comes from the scene's random numbers alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from streams.broker.errors import BrokerError
from streams.broker.kafka import EmbeddedKafka
from streams.simulator.unit import Scenario
from tests.chaos.plan import Shape
from tests.chaos.scene import Post, Scene

Inject = Callable[[Scene], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Fault:
    """One way to go wrong.

    Attributes:
        name: as `--fault` takes it.
        does: in a few words.
        inject: brings it about, until the feed is played.
        workers: how many there are at the start.
        seeds: how many the whole soak runs.
        own_broker: the run needs a broker for itself.
        small_disk: that broker's data lies on a disk of so many megabytes.
        recover_s: the first alert comes within so many seconds of an injury, where that is promised.
        restart_s: the same after a kill of a worker that did not yet own anything. The group may have to miss it for
            a session timeout that begins only when that of the worker killed before it is over.
        pause_s: no alert takes longer than this while a worker joins, where that is promised.
        backlog: everything is sent before the first worker starts.
    """

    name: str
    does: str
    inject: Inject
    workers: int = 1
    seeds: int = 3
    own_broker: bool = False
    small_disk: int = 0
    recover_s: float | None = None
    restart_s: float | None = None
    pause_s: float | None = None
    backlog: bool = False
    shape: Shape = field(default_factory=Shape)


async def _nap(scene: Scene, least: float, most: float) -> bool:
    """Wait a while of chance; False when the feed is played and the mischief should end."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(scene.played.wait(), scene.rng.uniform(least, most))
    return not scene.played.is_set()


# -- workers -----------------------------------------------------------------------------------------------------------


async def _nothing(scene: Scene) -> None:
    await scene.played.wait()


async def _kill_soon(scene: Scene) -> None:
    """By turns in the middle of a start and just after partitions have come."""
    (post,) = scene.posts
    working = scene.rng.random() < 0.5
    while True:
        if working:
            await scene.until_owner(post)
        working = not working
        if not await _nap(scene, 0.1, 1.0):
            return
        scene.kill(post)
        await asyncio.sleep(0.1)


async def _kill_twice(scene: Scene) -> None:
    """In the middle of the work, and again soon after the recovery."""
    (post,) = scene.posts
    for least, most in ((3.0, 4.0), (2.0, 2.5)):
        if await _nap(scene, least, most):
            scene.kill(post)
            await asyncio.sleep(0.1)
            await scene.until_owner(post)
    await scene.played.wait()


async def _kill_late(scene: Scene) -> None:
    (post,) = scene.posts
    while await _nap(scene, 1.0, 10.0):
        scene.kill(post)
        await asyncio.sleep(0.1)
        await scene.until_owner(post)


async def _terminate(scene: Scene) -> None:
    (post,) = scene.posts
    while await _nap(scene, 1.0, 5.0):
        await scene.terminate(post)
        await asyncio.sleep(0.1)
        await scene.ready(post)


async def _freeze(scene: Scene) -> None:
    """Shorter than the session timeout, and longer: then the other takes over, and the frozen one comes back."""
    while await _nap(scene, 1.0, 3.0):
        post = scene.rng.choice(scene.posts)
        async with scene.frozen(post):
            await _nap(scene, *scene.rng.choice([(0.5, 4.0), (7.0, 10.0)]))
        scene.injured()


async def _join_and_leave(scene: Scene) -> None:
    while await _nap(scene, 2.0, 3.0):
        begun = time.time()
        post = scene.hire()
        await scene.until_owner(post)
        going_on = await _nap(scene, 2.5, 4.0)
        scene.joins.append((begun, time.time()))
        if not going_on:
            return
        await scene.terminate(post, again=False)


async def _rebalance_storm(scene: Scene) -> None:
    """Up to three workers that come and go before the last rebalance is over."""
    guests: list[Post] = []
    leaving: list[asyncio.Task[None]] = []
    while await _nap(scene, 0.2, 2.0):
        if len(guests) < 3 and (not guests or scene.rng.random() < 0.6):
            guests.append(scene.hire())
        else:
            post = guests.pop(scene.rng.randrange(len(guests)))
            post.wanted = False
            if scene.rng.random() < 0.5:
                scene.kill(post)
                scene.posts.remove(post)
            else:
                leaving.append(asyncio.create_task(scene.terminate(post, again=False)))
    await asyncio.gather(*leaving)


# -- the broker --------------------------------------------------------------------------------------------------------


def _broker(scene: Scene) -> EmbeddedKafka:
    assert scene.broker is not None
    return scene.broker


async def _broker_terminated(scene: Scene) -> None:
    while await _nap(scene, 3.0, 8.0):
        await asyncio.to_thread(_broker(scene).stop)
        await asyncio.sleep(scene.rng.uniform(0, 4))
        await asyncio.to_thread(_broker(scene).start)
        scene.injured()


async def _broker_killed(scene: Scene) -> None:
    while await _nap(scene, 3.0, 8.0):
        await asyncio.to_thread(_broker(scene).kill)
        await asyncio.sleep(scene.rng.uniform(0, 6))
        await asyncio.to_thread(_broker(scene).start)
        scene.injured()


async def _broker_frozen(scene: Scene) -> None:
    while await _nap(scene, 3.0, 6.0):
        await asyncio.to_thread(_broker(scene).suspend)
        try:
            await asyncio.sleep(scene.rng.choice([scene.rng.uniform(0.5, 3), scene.rng.uniform(6, 12)]))
        finally:
            await asyncio.to_thread(_broker(scene).resume)
            scene.injured()


async def _disk_full(scene: Scene) -> None:
    """The disk fills up; the broker halts itself; somebody makes room, and it is started again."""
    broker = _broker(scene)
    ballast = broker.data / "ballast"
    while await _nap(scene, 4.0, 7.0):
        await asyncio.to_thread(_fill, ballast)
        halted = await asyncio.to_thread(broker.wait, 12)
        if not halted:
            scene.notes.append("the broker went on with a full disk")
        await asyncio.sleep(scene.rng.uniform(0, 2))
        ballast.unlink()
        if halted:
            await asyncio.to_thread(broker.start)
        scene.injured()


def _fill(path: Path) -> None:
    block = bytes(64 * 1024)
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(block)


@contextlib.asynccontextmanager
async def disk_of(megabytes: int) -> AsyncIterator[Path | None]:
    """A disk of its own for a broker's data; None where an ordinary one will do.

    Raises:
        BrokerError: this system does not let us mount one.
    """
    if not megabytes:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="chaos-disk-") as folder:
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", folder]
        done = await asyncio.to_thread(subprocess.run, ["mount", *options], capture_output=True, text=True, check=False)
        if done.returncode:
            raise BrokerError(f"A full disk needs a small one, and mounting is not permitted: {done.stderr.strip()}")
        try:
            yield Path(folder) / "data"
        finally:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", folder], check=False)


_GARBAGE: Final = Shape(scenario=Scenario.GARBAGE, storm=3000)
_DAY: Final = Shape(minutes=24 * 60.0, probe_every=300.0)

FAULTS: Final = (
    Fault("none", "nothing goes wrong", _nothing, seeds=1),
    Fault("kill-soon", "kill -9 after 0.1-1 s", _kill_soon, seeds=20, recover_s=10, restart_s=16),
    Fault("kill-late", "kill -9 after 1-10 s", _kill_late, seeds=20, recover_s=10),
    Fault("terminate", "SIGTERM and start", _terminate, recover_s=5),
    Fault("freeze", "SIGSTOP of one of two workers", _freeze, workers=2),
    Fault("join-and-leave", "a second worker joins and leaves", _join_and_leave, seeds=20, pause_s=1.5),
    Fault("rebalance-storm", "up to three more come and go", _rebalance_storm, seeds=20),
    Fault("broker-terminated", "the broker restarts", _broker_terminated, own_broker=True),
    Fault("broker-killed", "kill -9 of the broker", _broker_killed, own_broker=True),
    Fault("broker-frozen", "SIGSTOP of the broker", _broker_frozen, own_broker=True),
    Fault("garbage-storm", "3,000 broken messages of one producer", _nothing, shape=_GARBAGE),
    Fault("backlog", "24 h waiting at a cold start", _nothing, backlog=True, shape=_DAY),
    Fault("disk-full", "the broker's disk fills up", _disk_full, own_broker=True, small_disk=192),
)
#: Short enough for a test.
KILL_TWICE: Final = Fault("kill-twice", "kill -9, and again after the recovery", _kill_twice, recover_s=10)
BY_NAME: Final = {fault.name: fault for fault in (*FAULTS, KILL_TWICE)}
