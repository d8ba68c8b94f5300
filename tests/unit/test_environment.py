"""Whatever an environment variable holds: settings in bounds, or one line that names it and what it wants."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.settings import Settings
from models.state import LONGEST_WINDOW
from streams.commands.environment import EnvironmentVariablesError, read_settings

NAMES = sorted(f"DIALYSIS_{name.upper()}" for name in Settings.model_fields)
ODD = [
    b"",
    b" ",
    b"inf",
    b"nan",
    b"1e400",
    b"-1",
    b"9" * 5000,
    b"\xff",
    b"a\nb",
    b"\x1b[1m",
    b"1" * 200,
    b"h" * 5000 + b":1",
]


@pytest.fixture(autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in NAMES if name in os.environ}
    yield
    os.environ.update(before)


def read(name: str, value: bytes) -> tuple[Settings | None, list[str]]:
    os.environb[name.encode()] = value
    try:
        return read_settings(), []
    except EnvironmentVariablesError as error:
        return None, error.lines
    finally:
        del os.environ[name]


@given(
    st.sampled_from(NAMES),
    st.one_of(st.sampled_from(ODD), st.binary(max_size=30), st.floats().map(lambda n: str(n).encode())),
)
def test_any_value_is_in_bounds_or_named(name: str, value: bytes) -> None:
    found, lines = read(name, value.replace(b"\0", b""))
    if found is None:
        (line,) = lines
        assert line.startswith(f"{name} is ")
        assert ", wants " in line
        assert line.isprintable()
        assert len(line) < 400
    else:
        assert found.retention <= LONGEST_WINDOW
        assert 6 <= found.session_timeout <= 1800
        assert 6 <= found.rebalance_timeout <= 1800
        assert 0 < found.checkpoint_interval <= 60


@pytest.mark.parametrize(
    ("name", "value", "wants"),
    [
        ("RULES", b"", "a path; unset it where none is meant"),
        ("DATA", b" ", "a path; unset it where none is meant"),
        ("RESOLVED_RETENTION", b"1e400", "a finite number"),
        ("RESOLVED_RETENTION", b"3024001", "3024000.0 or less"),
        ("SESSION_TIMEOUT", b"inf", "a finite number"),
        ("SESSION_TIMEOUT", b"1801", "1800.0 or less"),
        ("REBALANCE_TIMEOUT", b"nan", "a finite number"),
        ("PARTITIONS", b"9" * 5000, "a whole number of fewer digits"),
        ("PARTITIONS", b"\xff", "text in UTF-8"),
        ("HTTP", b"127.0.0.1:" + b"9" * 5000, "host:port with a port from 0 to 65535"),
        ("BROKERS", b"a host is not one:9092", "host:port with a port from 1 to 65535"),
        ("MAX_MESSAGE_BYTES", b"99999999999999999999", "268435456 or less"),
        ("MAX_BATCH_BYTES", b"99999999999999999999", "1073741824 or less"),
        ("WAITING_BYTES", b"1", "8388608 or more"),
    ],
)
def test_a_value_out_of_bounds_is_named(name: str, value: bytes, wants: str) -> None:
    _, (line,) = read(f"DIALYSIS_{name}", value)
    assert f", wants {wants}" in line


def test_the_longest_retention_is_the_longest_window() -> None:
    assert read("DIALYSIS_RESOLVED_RETENTION", str(LONGEST_WINDOW.total_seconds()).encode())[0]
