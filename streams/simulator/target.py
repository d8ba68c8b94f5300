"""Check Kafka before the simulator sends: whether a broker answers, topics exist, and who stamps records."""

import asyncio
import contextlib
import time
from typing import Any, Final, Self

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError

from models.settings import Settings
from models.topics import PATIENT_TOPICS

_TIMEOUT_S: Final = 15.0
_TOPICS_S: Final = 3.0


class PublishError(Exception):
    """Messages cannot be sent; the error's text is one sentence for the person who ran the command."""

    @classmethod
    def unreachable(cls, settings: Settings) -> Self:
        """Make the error of a broker that does not answer."""
        return cls(
            f"No Kafka broker answers at {settings.brokers}: start one with `dialysis-alerts broker`, "
            "or say where it is with DIALYSIS_BROKERS."
        )


async def append_time_topics(settings: Settings) -> frozenset[str]:
    """Return the input topics, by the contract's names, that stamp records on arrival.

    Raises:
        PublishError: No broker answers, or an input topic does not exist.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.brokers, client_id="dialysis-simulator")
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await admin.start()
            await _wait_for_topics(settings, admin)
            return await _stamped_on_arrival(settings, admin)
    except (KafkaConnectionError, TimeoutError) as error:
        raise PublishError.unreachable(settings) from error
    except KafkaError as error:
        raise PublishError(f"Kafka does not say which topics it has: {error}.") from error
    finally:
        with contextlib.suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(admin.close(), _TIMEOUT_S)


async def _wait_for_topics(settings: Settings, admin: AIOKafkaAdminClient) -> None:
    """Wait a while for the topics, as not every broker may know new ones yet; raise if any stays missing."""
    wanted = {settings.topic(name) for name in PATIENT_TOPICS}
    asked_until = time.monotonic() + _TOPICS_S
    while missing := sorted(wanted - set(await admin.list_topics())):
        if time.monotonic() > asked_until:
            one = len(missing) == 1
            raise PublishError(
                f"Topic{'' if one else 's'} {', '.join(missing)} {'does' if one else 'do'} not exist: "
                "make them with `dialysis-alerts topics --create`."
            )
        await asyncio.sleep(0.1)


async def _stamped_on_arrival(settings: Settings, admin: AIOKafkaAdminClient) -> frozenset[str]:
    """Return the topics that stamp on arrival; none where the broker does not show it: only a note depends on it."""
    asked = [
        ConfigResource(ConfigResourceType.TOPIC, settings.topic(name), {"message.timestamp.type": ""})
        for name in PATIENT_TOPICS
    ]
    stamped = set()
    answers: list[Any] = await admin.describe_configs(asked)
    for _code, _message, _kind, topic, entries in (found for answer in answers for found in answer.resources):
        if any(entry[:2] == ("message.timestamp.type", "LogAppendTime") for entry in entries):
            stamped.add(topic)
    return frozenset(name for name in PATIENT_TOPICS if settings.topic(name) in stamped)
