"""Sends people's answers to Kafka, one producer for all of them, made when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from models.settings import Settings
from streams.board.answer_desk import Message

log = logging.getLogger(__name__)

#: How long Kafka may take for one answer, in seconds: then the client gives it up as well.
_SEND_S: Final = 5.0
_START_S: Final = 4.0


class AnswerNotSentError(Exception):
    """Kafka did not confirm the answer; one sentence for the person who gave it."""


class AnswerSender:
    """Sends answers; `stop` ends the producer."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._lock = asyncio.Lock()

    async def send(self, message: Message) -> None:
        """Send an answer and wait until Kafka has it.

        Raises:
            AnswerNotSentError: Kafka did not say so in time.
        """
        try:
            producer = await self._started()
            async with asyncio.timeout(_SEND_S + 1.0):
                await producer.send_and_wait(self._settings.topic(message.topic), message.value, message.key)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("an answer could not be sent (%s)", type(error).__name__)
            raise AnswerNotSentError(
                "Kafka did not confirm the answer: look whether the alert changes, else answer again."
            ) from None

    async def _started(self) -> AIOKafkaProducer:
        async with self._lock:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._settings.brokers,
                    acks="all",
                    request_timeout_ms=int(_SEND_S * 1000),
                    client_id="dialysis-alerts",
                )
                try:
                    async with asyncio.timeout(_START_S):
                        await producer.start()
                except BaseException:
                    with contextlib.suppress(Exception):
                        await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def stop(self) -> None:
        """End the producer."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None
