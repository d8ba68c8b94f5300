import pytest
from aiohttp.test_utils import TestClient, TestServer

from models.settings import Settings
from streams.worker.health import Check, Health, Limits
from streams.worker.http_server import AddressError, HttpServer, application
from streams.worker.metrics import Metrics

LABS, MACHINES = "dialysis.lab-results", "dialysis.machine-events"
LIMITS = Limits()


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    """A worker that is alive and ready."""
    health = Health(LIMITS, clock)
    health.broker_answered()
    health.assigned([(LABS, 0), (MACHINES, 0)])
    health.recovered()
    health.ticked()
    return health


def failing(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.why for check in checks if not check.ok}


def run_for(clock: Clock, health: Health, seconds: int, broker: bool = True, poll: tuple[str, ...] = ()) -> None:
    for _ in range(seconds):
        clock.now += 1
        health.ticked()
        if broker:
            health.broker_answered()
        for topic in poll:
            health.polled(topic, 0)


def test_a_worker_that_just_started_is_alive_but_not_ready(clock: Clock) -> None:
    health = Health(LIMITS, clock)
    assert not failing(health.alive())
    assert set(failing(health.ready())) == {"assigned", "recovered", "broker"}


def test_a_working_worker_is_alive_and_ready(clock: Clock, health: Health) -> None:
    run_for(clock, health, 3600, poll=(LABS, MACHINES))
    assert not failing(health.alive())
    assert not failing(health.ready())


def test_a_timer_that_stands_fails_readiness_first_then_liveness(clock: Clock, health: Health) -> None:
    clock.now += LIMITS.tick_ready
    assert "tick" not in failing(health.ready())
    clock.now += 0.1
    assert "tick" in failing(health.ready())
    assert not failing(health.alive())
    clock.now += LIMITS.tick_alive
    assert set(failing(health.alive())) == {"tick"}


def test_one_stalled_partition_is_named(clock: Clock, health: Health) -> None:
    run_for(clock, health, 31, poll=(LABS,))
    assert failing(health.alive()) == {"partitions": f"no progress: {MACHINES}[0] for 31.0 s"}


def test_many_stalled_partitions_are_counted(clock: Clock, health: Health) -> None:
    health.assigned((LABS, partition) for partition in range(10))
    health.recovered()
    run_for(clock, health, 31)
    assert failing(health.alive())["partitions"].endswith("and 7 more")


def test_an_absent_broker_fails_readiness_only(clock: Clock, health: Health) -> None:
    run_for(clock, health, 3600, broker=False)
    assert not failing(health.alive())
    assert set(failing(health.ready())) == {"broker"}


def test_partitions_have_time_again_when_the_broker_is_back(clock: Clock, health: Health) -> None:
    run_for(clock, health, 3600, broker=False)
    run_for(clock, health, 30)
    assert not failing(health.alive())
    run_for(clock, health, 2)
    assert set(failing(health.alive())) == {"partitions"}


def test_recovery_has_a_longer_limit_and_polling_counts_from_its_end(clock: Clock, health: Health) -> None:
    health.assigned([(LABS, 0)])
    run_for(clock, health, 300)
    assert not failing(health.alive())
    assert set(failing(health.ready())) == {"recovered"}
    health.recovered()
    run_for(clock, health, 30)
    assert not failing(health.alive())
    assert not failing(health.ready())
    health.assigned([(LABS, 0)])
    run_for(clock, health, 301)
    assert set(failing(health.alive())) == {"partitions"}


def test_a_worker_without_partitions_is_alive(clock: Clock, health: Health) -> None:
    health.assigned([])
    health.polled(LABS, 0)
    run_for(clock, health, 3600)
    assert not failing(health.alive())
    assert "assigned" in failing(health.ready())


def test_dead_letters_fail_at_half_of_the_window(health: Health) -> None:
    health.unusable(LABS, 99)
    assert not failing(health.ready())
    health.unusable(LABS)
    assert failing(health.ready()) == {"dead_letters": f"{LABS}: 100 of the last 200 messages unusable"}


def test_old_messages_leave_the_window(health: Health) -> None:
    health.unusable(LABS, 150)
    health.usable(LABS, 100)
    assert failing(health.ready()) == {"dead_letters": f"{LABS}: 100 of the last 200 messages unusable"}
    health.usable(LABS)
    assert not failing(health.ready())


def test_another_topic_does_not_dilute_a_bad_one(health: Health) -> None:
    health.unusable(LABS, 100)
    health.usable(MACHINES, 100_000)
    assert set(failing(health.ready())) == {"dead_letters"}


def test_a_mixed_batch_counts_in_proportion(health: Health) -> None:
    health.seen(LABS, usable=700, unusable=300)
    assert not failing(health.ready())
    health.seen(LABS, usable=400, unusable=600)
    assert "120 of the last 200" in failing(health.ready())["dead_letters"]
    health.seen(LABS, usable=0, unusable=0)
    health.usable(LABS, 199)
    assert not failing(health.ready())
    health.usable(LABS, 10_000)
    assert not failing(health.ready())


async def test_the_answers_name_each_check(clock: Clock, health: Health) -> None:
    metrics = Metrics()
    metrics.topic(LABS).late.inc()
    async with TestClient(TestServer(application(health, metrics.registry))) as client:
        alive = await client.get("/healthz")
        assert alive.status == 200
        assert (await alive.json())["status"] == "ok"
        clock.now += 11
        ready = await client.get("/readyz")
        assert ready.status == 503
        body = await ready.json()
        assert body["status"] == "failing"
        assert set(body["checks"]) == {"assigned", "recovered", "tick", "broker", "topics", "dead_letters"}
        assert body["checks"]["tick"] == {
            "ok": False,
            "why": "the timer last ran 11.0 s ago, 10 s are allowed",
        }
        assert body["checks"]["assigned"] == {"ok": True, "why": "2 partitions"}
        page = await client.get("/metrics")
        assert page.headers["Content-Type"].startswith("text/plain")
        assert f'dialysis_late_events_total{{topic="{LABS}"}} 1.0' in await page.text()
        assert (await client.get("/table/patients")).status == 404
        assert (await client.head("/healthz")).status == 200


async def test_it_listens_on_loopback_and_says_when_the_port_is_taken(health: Health) -> None:
    registry = Metrics().registry
    assert Settings().http_address[0] == "127.0.0.1"
    async with HttpServer(("127.0.0.1", 0), health, registry) as server:
        assert server.port > 0
        with pytest.raises(AddressError) as raised:
            await HttpServer(("127.0.0.1", server.port), health, registry).start()
        sentence = str(raised.value)
        assert f"127.0.0.1:{server.port}" in sentence
        assert "in use" in sentence
        assert "DIALYSIS_HTTP" in sentence
        assert "\n" not in sentence
    async with HttpServer(("127.0.0.1", server.port), health, registry):
        pass
    await HttpServer(("127.0.0.1", 0), health, registry).stop()


async def test_a_foreign_address_is_one_sentence(health: Health) -> None:
    with pytest.raises(AddressError, match="no such address"):
        await HttpServer(("192.0.2.1", 0), health, Metrics().registry).start()
