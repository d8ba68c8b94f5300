"""Settings of a process, from environment variables with the prefix `DIALYSIS_`."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: Longest path and address that a setting takes.
_LONGEST: Final = 1000
_PORT_DIGITS: Final = 5
_HEADER: Final = r"^[A-Za-z0-9-]{1,100}$"


class Settings(BaseSettings):
    """The settings of a deployment; every field is an environment variable, e.g. `DIALYSIS_BROKERS`.

    Durations are in seconds, sizes in bytes.
    """

    model_config = SettingsConfigDict(env_prefix="DIALYSIS_", extra="ignore", frozen=True)

    brokers: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port[,host:port …]")
    topic_prefix: str = Field("dialysis.", pattern=r"^[A-Za-z0-9._-]{0,100}$")
    partitions: int = Field(8, ge=1, le=1024, description="Partitions of every patient topic")
    replication: int = Field(1, ge=1, le=5, description="Replicas of a topic; 3 in production")
    group: str = Field("dialysis-alerts", pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Consumer group")
    http: str = Field("127.0.0.1:6066", description="Where /metrics, /healthz and /readyz answer, host:port")
    rules: Path | None = Field(None, description="A TOML file with this site's rule settings")
    data: Path | None = Field(None, description="Folder for the embedded Kafka's data")
    resolved_retention: Seconds = Field(
        900, le=35 * 24 * 3600, description="How long an alert that is over stays readable; no window is longer"
    )
    checkpoint_interval: Seconds = Field(1.0, le=60, description="Longest time changed state stays in memory")
    checkpoint_patients: int = Field(5000, ge=1, le=1_000_000, description="Changed patients that force a checkpoint")
    batch_max: int = Field(1000, ge=1, le=10_000, description="Most records of a partition handled at once")
    session_timeout: Seconds = Field(6.0, ge=6, le=1800, description="Kafka's; brokers take 6 s to 30 min by default")
    rebalance_timeout: Seconds = Field(10.0, ge=6, le=1800, description="How long a rebalance waits for a worker")
    max_message_bytes: int = Field(
        4 * 1024 * 1024, ge=1024 * 1024, le=256 * 1024 * 1024, description="Largest input message"
    )
    max_batch_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="Most that a compressed batch of input messages may unpack to",
    )
    waiting_bytes: int = Field(
        64 * 1024 * 1024,
        ge=8 * 1024 * 1024,
        le=16 * 1024 * 1024 * 1024,
        description="Input that may wait in memory, of all partitions together",
    )
    on_bad_state: Literal["set_aside", "stop"] = Field(
        "set_aside", description="What a stored record that cannot be read does: to dead-letters, or end the worker"
    )
    on_lost_state: Literal["stop", "continue"] = Field(
        "stop", description="What an empty changelog of a group with committed offsets does"
    )
    board_http: str = Field("127.0.0.1:6080", description="Where the unit screen answers, host:port")
    board_site: Path | None = Field(None, description="A TOML file with this site's rooms, chairs and water loops")
    board_users: Path | None = Field(None, description="A TOML file with who may sign in to the unit screen")
    board_proxies: str = Field("", description="Addresses of proxies whose headers say who asks, separated by commas")
    board_user_header: str = Field("X-Remote-User", pattern=_HEADER, description="In it a trusted proxy names who asks")
    board_role_header: str = Field("X-Remote-Role", pattern=_HEADER, description="In it the proxy gives the role")
    board_session_hours: float = Field(12.0, gt=0, le=168, description="How long a sign-in lasts")
    board_snooze_high_minutes: float = Field(30.0, gt=0, le=1440, description="Longest snooze of a high alert")
    board_snooze_minutes: float = Field(720.0, gt=0, le=10080, description="Longest snooze of every other alert")
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("rules", "data", "board_site", "board_users", mode="before")
    @classmethod
    def _path(cls, value: Any) -> Any:
        """Refuse what is not a path; an empty one would be the folder in which the process happens to run."""
        text = str(value) if isinstance(value, str | Path) else "x"
        if not text.strip() or len(text) > _LONGEST or "\0" in text:
            raise ValueError(f"{text[:20]!r} is not a path; unset it where none is meant")
        return value

    @field_validator("brokers")
    @classmethod
    def _brokers(cls, value: str) -> str:
        for server in value.split(","):
            _host_port(server.strip())
        return value

    @field_validator("board_proxies")
    @classmethod
    def _proxies(cls, value: str) -> str:
        _networks(value)
        return value

    @field_validator("http", "board_http")
    @classmethod
    def _http(cls, value: str) -> str:
        _host_port(value, lowest=0)
        return value

    @property
    def http_address(self) -> tuple[str, int]:
        """Return host and port of the HTTP server; port 0 lets the kernel choose."""
        return _host_port(self.http, lowest=0)

    @property
    def board_address(self) -> tuple[str, int]:
        """Return host and port of the unit screen; port 0 lets the kernel choose."""
        return _host_port(self.board_http, lowest=0)

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the addresses of the proxies that the unit screen trusts."""
        return _networks(self.board_proxies)

    @property
    def retention(self) -> timedelta:
        """Return how long an alert that is over stays readable."""
        return timedelta(seconds=self.resolved_retention)

    def topic(self, name: str) -> str:
        """Return the full name of a topic of the contract."""
        return self.topic_prefix + name


def _host_port(text: str, lowest: int = 1) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS and lowest <= int(port) <= 65535
    if not colon or not _is_host(host) or not is_port:
        raise ValueError(f"{text!r} is not host:port with a port from {lowest} to 65535")
    return host, int(port)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError:
        raise ValueError(f"{text[:100]!r} is not a list of addresses such as 127.0.0.1, 10.0.0.0/24") from None


def _is_host(host: str) -> bool:
    return 0 < len(host) <= _LONGEST and host.isprintable() and not any(letter.isspace() for letter in host)
