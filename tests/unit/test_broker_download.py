"""The download of the embedded Kafka, without a network."""

import hashlib
import http.server
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jgo.maven._core
import pytest

from streams.broker.download import cache_folder, fetch
from streams.broker.errors import BrokerError
from streams.broker.jars import Advance, Jar, UnavailableError, pinned
from streams.broker.maven import resolve_with_jgo
from streams.broker.progress import progress_bar

CONTENT = {name: name.encode() * 1000 for name in ("anode", "beta", "gamma", "delta")}


def jar(name: str) -> Jar:
    content = CONTENT[name]
    return Jar("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))


JARS = [jar(name) for name in CONTENT]


class FakeCentral:
    """Serves `CONTENT`; each queued fault spoils one answer for that jar."""

    def __init__(self, **faults: list[object]) -> None:
        self.faults = faults
        self.asked: list[tuple[str, bool]] = []

    def __call__(self, wanted: Jar, folder: Path, fresh: bool, advance: Advance) -> Path:
        self.asked.append((wanted.artifact, fresh))
        assert list(folder.iterdir()) == []
        path = folder / wanted.filename
        content = CONTENT[wanted.artifact]
        faults = self.faults.get(wanted.artifact, [])
        fault = faults.pop(0) if faults else None
        if isinstance(fault, BaseException):
            path.write_bytes(content[:10])
            advance(10)
            raise fault
        path.write_bytes(fault if isinstance(fault, bytes) else content)
        advance(len(content))
        return path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))


def files(cache: Path) -> list[str]:
    """What the cache shows, apart from its lock."""
    return sorted(path.name for path in (cache / "jars").rglob("*") if path.name != ".lock")


def test_all_jars_arrive_whole_and_once(tmp_path: Path) -> None:
    central = FakeCentral()
    paths = fetch(JARS, tmp_path, central)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert fetch(JARS, tmp_path, central) == paths
    assert sorted(central.asked) == sorted((name, False) for name in CONTENT)
    assert files(tmp_path) == sorted(path.name for path in paths)


def test_a_spoiled_file_in_the_cache_is_replaced(tmp_path: Path) -> None:
    path = fetch(JARS, tmp_path, FakeCentral())[0]
    path.write_bytes(b"spoiled")
    central = FakeCentral()
    fetch(JARS, tmp_path, central)
    assert central.asked == [("anode", False)]
    assert path.read_bytes() == CONTENT["anode"]


def test_a_wrong_checksum_is_retried_without_local_copies(tmp_path: Path) -> None:
    central = FakeCentral(beta=[b"evil"])
    fetch(JARS, tmp_path, central)
    assert [fresh for name, fresh in central.asked if name == "beta"] == [False, True]


def test_a_checksum_that_stays_wrong_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"^Kafka could not be downloaded \(beta 1\.0\): its SHA-256 is wrong"):
        fetch([jar("beta")], tmp_path, FakeCentral(beta=[b"evil"] * 9))
    assert files(tmp_path) == []


def test_a_broken_connection_is_retried(tmp_path: Path) -> None:
    central = FakeCentral(gamma=[UnavailableError("cut"), UnavailableError("cut")])
    fetch(JARS, tmp_path, central)
    assert len([name for name, _ in central.asked if name == "gamma"]) == 3


def test_no_network_is_one_sentence_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"could not be downloaded .*: no network"):
        fetch([jar("delta")], tmp_path, FakeCentral(delta=[UnavailableError("no network")] * 9))
    assert files(tmp_path) == []


def test_one_failure_keeps_what_has_arrived(tmp_path: Path) -> None:
    with pytest.raises(BrokerError):
        fetch(JARS, tmp_path, FakeCentral(delta=[UnavailableError("no network")] * 9))
    assert set(files(tmp_path)) <= {wanted.filename for wanted in JARS[:3]}
    fetch(JARS, tmp_path, FakeCentral())


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=r"cache folder .* cannot be used"):
        fetch(JARS, tmp_path / "file", FakeCentral())


def test_an_interruption_stops_the_others_and_leaves_nothing_half(tmp_path: Path) -> None:
    def slow(wanted: Jar, folder: Path, fresh: bool, advance: Advance) -> Path:
        if wanted.artifact == "anode":
            raise KeyboardInterrupt
        path = folder / wanted.filename
        for _ in range(10_000):
            path.write_bytes(b"half")
            advance(1)
            time.sleep(0.01)
        return path

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(JARS, tmp_path, slow)
    assert time.monotonic() - began < 10
    assert files(tmp_path) == []


_DOWNLOADER = """
import sys, time
from pathlib import Path
from streams.broker.download import fetch
from tests.unit.test_broker_download import CONTENT, JARS

def resolve(wanted, folder, fresh, advance):
    path = folder / wanted.filename
    content = CONTENT[wanted.artifact]
    path.write_bytes(content[:100])
    sys.stdout.write(wanted.artifact + chr(10))  # one write: threads must not mix lines
    sys.stdout.flush()
    time.sleep(float(sys.argv[2]))
    path.write_bytes(content)
    return path

fetch(JARS, Path(sys.argv[1]), resolve)
print("done", flush=True)
"""


def start_downloader(cache: Path, seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", _DOWNLOADER, str(cache), str(seconds)], stdout=subprocess.PIPE, text=True
    )


def test_a_killed_download_is_cleared_up_by_the_next(tmp_path: Path) -> None:
    with start_downloader(tmp_path, 60) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert not any((tmp_path / "jars" / wanted.filename).exists() for wanted in JARS)
    paths = fetch(JARS, tmp_path, FakeCentral())
    assert files(tmp_path) == sorted(path.name for path in paths)


def test_two_processes_download_once(tmp_path: Path) -> None:
    with start_downloader(tmp_path, 0.5) as one, start_downloader(tmp_path, 0.5) as two:
        said = [child.communicate(timeout=60)[0].split() for child in (one, two)]
    assert [one.returncode, two.returncode] == [0, 0]
    assert sorted(map(len, said)) == [1, 1 + len(JARS)]


def test_pinned_list_is_complete_and_well_formed() -> None:
    jars = pinned()
    assert len(jars) == len({wanted.filename for wanted in jars}) == 46
    assert all(re.fullmatch("[0-9a-f]{64}", wanted.sha256) and wanted.size > 0 for wanted in jars)
    assert {wanted.version for wanted in jars if wanted.group == "org.apache.kafka"} == {"4.3.0"}
    assert {"kafka_2.13", "scala-library", "log4j-slf4j-impl"} <= {wanted.artifact for wanted in jars}


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DIALYSIS_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "dialysis-alerts"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == tmp_path / ".cache" / "dialysis-alerts"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "dialysis-alerts"
    monkeypatch.setenv("DIALYSIS_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"


def test_progress_is_one_line_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    with progress_bar(46, 45_000_000) as advance:
        advance(1000)
    assert capsys.readouterr().err == "Downloading Apache Kafka (46 files), 45 MB …\n"


def test_progress_is_a_bar_on_a_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")
    with progress_bar(46, 45_000_000) as advance:
        advance(45_000_000)
    assert "45.0/45.0 MB" in capsys.readouterr().err


class _Repository(http.server.BaseHTTPRequestHandler):
    """A Maven repository on the loopback interface."""

    truncate = 0

    def do_GET(self) -> None:
        name = self.path.rsplit("/", 1)[-1].removesuffix("-1.0.jar")
        if name not in CONTENT:
            self.send_error(404)
            return
        content = CONTENT[name]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if type(self).truncate:
            type(self).truncate -= 1
            content = content[: len(content) // 2]
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[http.server.HTTPServer]:
    """Point jgo to a local server and to an empty Maven repository."""
    monkeypatch.setenv("M2_REPO", str(tmp_path / "m2"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Repository) as server:
        monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_jgo_downloads(repository: http.server.HTTPServer, tmp_path: Path) -> None:
    got = 0

    def advance(count: int) -> None:
        nonlocal got
        got += count

    (tmp_path / "folder").mkdir()
    path = resolve_with_jgo(jar("anode"), tmp_path / "folder", fresh=False, advance=advance)
    assert path.read_bytes() == CONTENT["anode"]
    assert got == len(CONTENT["anode"])


def test_jgo_survives_a_cut_connection(
    repository: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Repository, "truncate", 1)
    (path,) = fetch([jar("anode")], tmp_path)
    assert path.read_bytes() == CONTENT["anode"]


def local_copy(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "m2" / "org" / "example" / "anode" / "1.0" / "anode-1.0.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_the_machines_maven_repository_saves_the_download(
    repository: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = local_copy(tmp_path, CONTENT["anode"])
    monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", "http://127.0.0.1:9")
    (path,) = fetch([jar("anode")], tmp_path)
    assert path.read_bytes() == copy.read_bytes() == CONTENT["anode"]


def test_a_spoiled_maven_repository_is_passed_over_and_left_alone(
    repository: http.server.HTTPServer, tmp_path: Path
) -> None:
    copy = local_copy(tmp_path, b"spoiled")
    (path,) = fetch([jar("anode")], tmp_path)
    assert path.read_bytes() == CONTENT["anode"]
    assert copy.read_bytes() == b"spoiled"


def test_no_network_says_so(
    repository: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", "http://127.0.0.1:9")
    with pytest.raises(BrokerError, match="Maven Central cannot be reached, check the network"):
        fetch([jar("anode")], tmp_path)


def test_a_certificate_that_is_not_trusted_says_so(
    repository: http.server.HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(jgo.maven._core.DEFAULT_REMOTE_REPOS, "central", f"https://127.0.0.1:{repository.server_port}")
    with pytest.raises(BrokerError, match="set REQUESTS_CA_BUNDLE"):
        fetch([jar("anode")], tmp_path)


def test_a_missing_artifact_says_so(repository: http.server.HTTPServer, tmp_path: Path) -> None:
    unknown = Jar("org.example", "unknown", "1.0", "0" * 64, 1)
    with pytest.raises(BrokerError, match="Maven Central did not give it"):
        fetch([unknown], tmp_path)


def test_a_missing_extra_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "streams.broker.maven")
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(BrokerError, match=r"not installed .*\[broker\]"):
        fetch([jar("anode")], tmp_path)
    assert files(tmp_path) == []
