"""The embedded Kafka, really started."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from streams.broker.errors import BrokerError
from streams.broker.kafka import EmbeddedKafka
from streams.broker.storage import DataFolder
from streams.broker.tcp_ports import ReservedPort, answers
from tests.integration.broker_checks import clients, create, eventually, gone, read, send


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedKafka]:
    """A broker that tests may stop and kill; its folder's name would break a Java properties file."""
    with EmbeddedKafka(tmp_path_factory.mktemp("own") / "a, ü b=%c") as broker:
        yield broker


@pytest.fixture
def running(own: EmbeddedKafka) -> EmbeddedKafka:
    return own.start()


@pytest.fixture(scope="module")
def formatted(own: EmbeddedKafka, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as a clean stop leaves it."""
    folder = tmp_path_factory.mktemp("formatted")
    EmbeddedKafka(folder).start().close()
    return folder


async def test_it_takes_and_gives_records(kafka: EmbeddedKafka, bootstrap: str) -> None:
    await create(bootstrap, "broker-serves")
    large = b"x" * 5_000_000
    await send(bootstrap, "broker-serves", large)
    assert await read(bootstrap, "broker-serves", 1) == [large]
    assert bootstrap == f"127.0.0.1:{kafka.port}"


async def test_topics_do_not_appear_by_themselves(bootstrap: str) -> None:
    admin = clients.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    (described,) = await admin.describe_topics(["broker-typo"])
    assert described["error_code"] == 3
    assert "broker-typo" not in await admin.list_topics()
    await admin.close()


async def test_stop_and_kill_keep_address_and_data(own: EmbeddedKafka) -> None:
    own.start()
    address = own.bootstrap
    await create(address, "broker-keeps")
    for number, end in enumerate((own.stop, own.kill, own.stop)):
        await send(address, "broker-keeps", b"%d" % number)
        end()
        assert not own.running
        assert own.pid is None
        await asyncio.to_thread(own.start)
        assert own.bootstrap == address
    assert await read(address, "broker-keeps", 3) == [b"0", b"1", b"2"]


def test_restart_is_a_new_process(running: EmbeddedKafka) -> None:
    before = running.pid
    running.restart()
    assert running.pid not in {None, before}
    assert answers(running.port)


def test_a_second_start_changes_nothing(running: EmbeddedKafka) -> None:
    before = running.pid
    assert running.start().pid == before


def test_suspend_freezes_and_resume_goes_on(running: EmbeddedKafka) -> None:
    running.suspend()
    assert running.running
    assert not answers(running.port, timeout=0.5)
    running.resume()
    assert eventually(lambda: answers(running.port))


def test_a_suspended_broker_stops_in_order(running: EmbeddedKafka) -> None:
    running.suspend()
    running.stop()
    assert not running.running
    # The last line of an orderly stop; SIGKILL would have left none.
    assert "App info kafka.server for 1 unregistered" in (running.data / "kafka.log").read_text()


def test_its_port_is_kept_while_it_is_down(running: EmbeddedKafka) -> None:
    port = running.port
    running.stop()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    with socket.socket() as client:
        assert client.connect_ex(("127.0.0.1", port)) != 0


def test_it_listens_on_the_loopback_interface_only(running: EmbeddedKafka) -> None:
    listening = [c for c in psutil.Process(running.pid).net_connections("inet") if c.status == "LISTEN"]
    assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} == {"127.0.0.1"}
    assert len(listening) == 2


def test_temporary_data_goes_with_close() -> None:
    broker = EmbeddedKafka(cpus={0}).start()
    data, pid = broker.data, broker.pid
    assert pid is not None
    if sys.platform == "linux":
        assert psutil.Process(pid).cpu_affinity() == [0]
    broker.close()
    assert gone(pid)
    assert not data.exists()
    with pytest.raises(BrokerError, match="start it first"):
        _ = broker.bootstrap
    broker.close()


def test_folders_of_killed_processes_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with EmbeddedKafka() as alive:
        orphan = tmp_path / "dialysis-kafka-orphan"
        orphan.mkdir()
        fresh = tmp_path / "dialysis-kafka-fresh"
        fresh.mkdir()
        for folder in (orphan, alive.data):
            os.utime(folder, (0, 0))
        DataFolder(None).close()
        assert not orphan.exists()
        assert fresh.exists()
        assert (alive.data / "log").exists()


def test_a_used_port_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"^Port {port} cannot be used \(.*in use\): choose another one\.$"):
            EmbeddedKafka(tmp_path, port).start()
    # Nothing is held after a failure.
    with EmbeddedKafka(tmp_path, port) as broker:
        assert broker.port == port


def test_a_port_that_is_taken_at_the_last_moment_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, formatted: Path
) -> None:
    """The other program is a Kafka itself, so that its answers must not be taken for ours."""
    with EmbeddedKafka() as other:

        class Late(ReservedPort):
            def __init__(self, port: int = 0) -> None:
                super().__init__()
                if port:
                    self.release()
                    self.number = port

        monkeypatch.setattr("streams.broker.kafka.ReservedPort", Late)
        with pytest.raises(BrokerError, match=r"^Kafka ended while it started: its port is in use"):
            EmbeddedKafka(formatted, other.port).start()


def test_a_second_broker_on_the_same_folder_is_one_sentence(running: EmbeddedKafka) -> None:
    with pytest.raises(BrokerError, match=r"is in use by another broker\.$"):
        EmbeddedKafka(running.data).start()
    assert answers(running.port)


def spoil_meta(folder: Path) -> None:
    (folder / "log" / "meta.properties").write_bytes(os.urandom(64))


def remove_meta(folder: Path) -> None:
    (folder / "log" / "meta.properties").unlink()


def other_node(folder: Path) -> None:
    meta = folder / "log" / "meta.properties"
    meta.write_text(meta.read_text().replace("node.id=1", "node.id=7"))


def other_cluster(folder: Path) -> None:
    meta = folder / "log" / "meta.properties"
    meta.write_text(meta.read_text().replace("cluster.id=", "cluster.id=x"))


def foreign_folder(folder: Path) -> None:
    (folder / "log").rename(folder / "photos")


def settings_in_the_way(folder: Path) -> None:
    (folder / "server.properties").unlink()
    (folder / "server.properties").mkdir()


def alien_in_the_log(folder: Path) -> None:
    (folder / "log" / "holiday").mkdir()


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (spoil_meta, r"is broken \(meta\.properties cannot be read\): delete it or choose another\.$"),
        (remove_meta, r"is broken \(meta\.properties cannot be read\)"),
        (other_node, r"belongs to another Kafka: choose another one\.$"),
        (other_cluster, r"belongs to another Kafka"),
        (foreign_folder, r"holds something else \(photos\): choose an empty one\.$"),
        (settings_in_the_way, r"^Kafka could not be started: .*server\.properties"),
        (alien_in_the_log, r"^Kafka ended while it started: KafkaException: Found directory .*holiday"),
    ],
)
def test_a_broken_data_folder_is_one_sentence(
    spoil: Callable[[Path], None], sentence: str, formatted: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(formatted), str(folder)], check=True)
    spoil(folder)
    with pytest.raises(BrokerError, match=sentence) as caught:
        EmbeddedKafka(folder).start()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["file", "file/below"])
def test_a_data_folder_that_cannot_be_is_one_sentence(path: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"^The data folder .*(is a file|cannot be used)"):
        EmbeddedKafka(tmp_path / path).start()


def test_an_interrupted_format_is_done_again(tmp_path: Path) -> None:
    (tmp_path / "log.formatting").mkdir()
    (tmp_path / "log.formatting" / "half").write_text("")
    with EmbeddedKafka(tmp_path) as broker:
        assert answers(broker.port)


def test_a_jvm_that_dies_at_start_says_why() -> None:
    with pytest.raises(BrokerError, match="there is not enough memory"):
        EmbeddedKafka(jvm=["-Xmx9000g", "-Xms9000g"]).start()
    with pytest.raises(BrokerError, match="Unrecognized VM option 'Nonsense'"):
        EmbeddedKafka(jvm=["-XX:Nonsense"]).start()


def test_it_outlives_the_thread_that_started_it() -> None:
    broker = EmbeddedKafka()
    thread = threading.Thread(target=broker.start)
    thread.start()
    thread.join()
    with broker:
        time.sleep(0.3)
        assert broker.running


_PARENT = """
import sys, time
from streams.broker.kafka import EmbeddedKafka
broker = EmbeddedKafka().start()
print(broker.pid, broker.data, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
"""


@pytest.mark.parametrize("end", ["kill", "forget"])
def test_it_dies_with_its_parent(end: str) -> None:
    argument = "wait" if end == "kill" else "leave"
    with subprocess.Popen([sys.executable, "-c", _PARENT, argument], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, data = parent.stdout.readline().split()
        if end == "kill":
            parent.kill()
    assert eventually(lambda: gone(int(pid)))
    # Nobody is left to remove it after SIGKILL; the next broker does, when it is a minute old.
    assert Path(data).exists() == (end == "kill")
    shutil.rmtree(data, ignore_errors=True)
