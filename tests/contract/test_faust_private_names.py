"""The private names of Faust, mode and aiokafka that streams/transport relies on.

They are nobody's promise: a new version of either must fail here first, by name, and not in production.
"""

from __future__ import annotations

import inspect
from importlib.metadata import version
from typing import Any

import faust
import pytest
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.consumer.fetcher import Fetcher, FetchResult, PartitionRecords
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState, TopicPartitionState
from aiokafka.producer.message_accumulator import MessageAccumulator, MessageBatch
from faust.app.base import App
from faust.tables.manager import TableManager
from faust.tables.recovery import Recovery
from faust.transport.conductor import Conductor
from faust.transport.consumer import Consumer as BaseConsumer
from faust.transport.consumer import Fetcher as FaustFetcher
from faust.transport.drivers import aiokafka as driver
from faust.types.tuples import ConsumerMessage
from mode import CrashingSupervisor, Service
from mode.services import ServiceTask
from mode.threads import ServiceThread
from mode.utils.queues import FlowControlEvent


@pytest.mark.parametrize(
    ("package", "wanted"), [("faust-streaming", "0.15.3"), ("mode-streaming", "0.7.1"), ("aiokafka", "0.14.0")]
)
def test_versions_are_the_ones_that_were_read(package: str, wanted: str) -> None:
    assert version(package) == wanted


def parameters(function: Any) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


SIGNATURES: list[tuple[Any, list[str]]] = [
    # overridden: called by Faust with these arguments
    (driver.AIOKafkaConsumerThread.__post_init__, []),
    (driver.AIOKafkaConsumerThread.on_start, []),
    (driver.AIOKafkaConsumerThread._create_worker_consumer, ["transport"]),
    (driver.AIOKafkaConsumerThread._commit, ["offsets"]),
    (driver.AIOKafkaConsumerThread.on_partitions_assigned, ["assigned", "generation_id"]),
    (driver.AIOKafkaConsumerThread.verify_event_path, ["now", "tp"]),
    (driver.AIOKafkaConsumerThread.verify_recovery_event_path, ["now", "tp"]),
    (driver.Consumer._new_consumer_thread, []),
    (driver.Consumer._drain_messages, ["fetcher"]),
    (driver.Consumer.force_commit, ["topics", "start_new_transaction"]),
    (driver.Consumer.ack, ["message"]),
    (driver.Consumer.on_buffer_full, ["tp"]),
    (driver.Consumer.on_buffer_drop, ["tp"]),
    (driver.Consumer.on_partitions_revoked, ["revoked"]),
    (driver.Producer._new_producer, ["transactional_id"]),
    (App._new_transport, []),
    (App._stop_consumer, []),
    (TableManager.on_start, []),
    (Recovery.on_stop, []),
    (Service.__post_init__, []),
    # called or wrapped
    (driver.AIOKafkaConsumerThread._ensure_consumer, []),
    (driver.AIOKafkaConsumerThread.call_thread, ["fun", "args", "kwargs"]),
    (driver.Consumer._commit, ["offsets"]),
    (driver.Consumer.stop_flow, []),
    (driver.Consumer.resume_flow, []),
    (driver.Consumer.assignment, []),
    (driver.Producer._ensure_producer, []),
    (PartitionRecords._consumer_record, ["tp", "record"]),
    (TableManager._update_channels, []),
    (TableManager.on_actives_ready, []),
    (TableManager.on_standbys_ready, []),
    (App.on_rebalance_end, []),
    (FlowControlEvent.suspend, []),
    (FlowControlEvent.resume, []),
    (FlowControlEvent.clear, []),
    (Fetcher._proc_fetch_request, ["assignment", "node_id", "request"]),
    (Fetcher._create_fetch_waiter, []),
    (Fetcher.fetched_records, ["partitions", "timeout", "max_records"]),
    (GroupCoordinator._do_heartbeat, []),
    (GroupCoordinator.fetch_committed_offsets, ["partitions"]),
    (SubscriptionState.fetch_context, []),
    (Assignment.state_value, ["tp"]),
    (AIOKafkaClient.force_metadata_update, []),
    (AIOKafkaProducer.create_batch, []),
    (AIOKafkaProducer.send_batch, ["batch", "topic", "partition"]),
    (MessageAccumulator.drain_by_nodes, ["ignore_nodes", "muted_partitions"]),
    (MessageAccumulator._pop_batch, ["tp"]),
    (MessageBatch.expired, []),
    (MessageBatch.failure, ["exception"]),
]


@pytest.mark.parametrize(("function", "wanted"), SIGNATURES, ids=[function.__qualname__ for function, _ in SIGNATURES])
def test_signature(function: Any, wanted: list[str]) -> None:
    assert parameters(function) == wanted


# Attributes that are set in a body: each must still be written in the source where it was found.
SOURCES: list[tuple[Any, str]] = [
    (AIOKafkaConsumer.__init__, "self._fetch_max_wait_ms = fetch_max_wait_ms"),
    (AIOKafkaConsumer.start, "self._fetch_max_wait_ms"),
    (AIOKafkaConsumer.start, "self._coordinator = "),
    (AIOKafkaConsumer.start, "self._fetcher = "),
    (AIOKafkaConsumer.__init__, "self._closed"),
    (AIOKafkaConsumer.__init__, "self._subscription = "),
    (Fetcher.__init__, "self._records = "),
    (Fetcher.__init__, "self._closed = "),
    (Fetcher.__init__, "self._subscriptions = "),
    (GroupCoordinator.__init__, "self.generation = "),
    # our wrappers are instance attributes: the callers must look the methods up on the instance
    (GroupCoordinator._heartbeat_routine, "await self._do_heartbeat()"),
    (Fetcher._fetch_requests_routine, "self._proc_fetch_request(assignment, node_id, request)"),
    # what the wrapper of fetches reads
    (Fetcher._proc_fetch_request, "tp_state.highwater = highwater"),
    (Fetcher._proc_fetch_request, "tp_state.timestamp = now_ms"),
    # records are made by a method that is looked up on the instance, which the wrapper of fetches replaces
    (FetchResult.__init__, "self._partition_records = partition_records"),
    (PartitionRecords._unpack_records, "self._consumer_record(tp, record)"),
    # draining returns at once without a timeout
    (Fetcher.fetched_records, "if drained or not timeout:"),
    # fetches are bounded in bytes: by a method and a limit that are set on the instances
    (Fetcher.fetched_records, "res_or_error.getall(max_records)"),
    (FetchResult.__init__, "self._topic_partition = tp"),
    (PartitionRecords.__init__, "self._records = records"),
    (PartitionRecords._unpack_records, "for record in next_batch:"),
    # read committed, which Faust has no setting for
    (AIOKafkaConsumer.start, "isolation_level=self._isolation_level"),
    (Fetcher._proc_fetch_request, "tp_state.lso = lso"),
    # a bootstrap server has little time
    (AIOKafkaClient.__init__, "self._request_timeout_ms = request_timeout_ms"),
    (AIOKafkaClient.__init__, "self._bootstrap_servers = bootstrap_servers"),
    # the producer's fence: one batch of a partition at a time, none later than its time
    (MessageAccumulator.__init__, "self._batches = "),
    (AIOKafkaProducer.__init__, "self._message_accumulator = MessageAccumulator("),
    (AIOKafkaProducer.__init__, "self._request_timeout_ms / 1000"),
    # the consumer's flow
    (BaseConsumer.__init__, "self.can_resume_flow = Event()"),
    (BaseConsumer.stop_flow, "self.flow_active = False"),
    (FaustFetcher._fetcher.fun, "consumer._drain_messages(self)"),
    (driver.ConsumerRebalanceListener.on_partitions_assigned, "consumer_generation_id = generation"),
    # recovery: who starts it, and what it must end
    (Recovery.on_rebalance, "self.signal_recovery_start.set()"),
    (Recovery.on_rebalance, "self._generation_id = generation_id"),
    (Recovery.__init__, "self.completed = Event()"),
    (Recovery.on_recovery_completed, "app.on_rebalance_complete.send()"),
    (vars(TableManager)["recovery"].fget, "self._recovery"),
    # release comes before Faust's own revocation and before the fetcher is stopped
    (App._stop_consumer, "await self._stop_fetcher()"),
    (App._consumer_wait_empty, "if self.conf.stream_wait_empty:"),
    (Conductor._build_handler, "ConductorHandler(self, tp, channels)"),
    # an agent that raises ends the worker, because nobody supervises it
    (Service.crash, "if self.supervisor:"),
    (ServiceThread.__init__, "self.thread_loop = "),
]


@pytest.mark.parametrize(
    ("function", "text"), SOURCES, ids=[f"{function.__qualname__}: {text}" for function, text in SOURCES]
)
def test_source(function: Any, text: str) -> None:
    assert text in inspect.getsource(function)


@pytest.mark.parametrize("name", ["_restart_recovery", "_slurp_changelogs", "_publish_stats"])
def test_recovery_tasks_are_the_ones_overridden(name: str) -> None:
    assert isinstance(getattr(Recovery, name), ServiceTask)
    assert {n for n, value in vars(Recovery).items() if isinstance(value, ServiceTask)} == {
        "_restart_recovery",
        "_slurp_changelogs",
        "_publish_stats",
    }


def test_partition_state_has_what_is_read() -> None:
    assert isinstance(vars(TopicPartitionState)["position"], property)
    assert isinstance(vars(TopicPartitionState)["has_valid_position"], property)


def test_messages_carry_a_generation_and_leave_room_for_more() -> None:
    assert "generation_id" in parameters(ConsumerMessage.__init__)
    message = ConsumerMessage("t", 0, 0, 0.0, 0, None, None, None, None)
    message.entry = None  # type: ignore[attr-defined]


def test_the_transport_takes_its_parts_from_class_attributes() -> None:
    assert driver.Transport.Consumer is driver.Consumer
    assert driver.Transport.Producer is driver.Producer


def test_a_crashing_supervisor_leaves_services_without_one() -> None:
    service = Service()
    CrashingSupervisor()._contribute_to_service(service)
    assert service.supervisor is None


SETTINGS = """
    agent_supervisor broker_commit_interval broker_heartbeat_interval broker_rebalance_timeout
    broker_request_timeout broker_session_timeout consumer_auto_offset_reset consumer_max_fetch_size
    producer_acks producer_linger producer_max_batch_size producer_max_request_size producer_request_timeout
    store stream_buffer_maxsize stream_wait_empty table_standby_replicas topic_allow_declare
    topic_disable_leader web_enabled TableManager
"""


@pytest.mark.parametrize("name", SETTINGS.split())
def test_setting_exists(name: str) -> None:
    assert hasattr(faust.Settings, name)
