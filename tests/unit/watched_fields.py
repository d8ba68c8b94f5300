"""A patient whose rules have some fields of samples kept, and what `data_quality` tells of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from models.state import PatientState
from streams.engine.factory import patient_partition
from streams.rules.catalogue import PATIENT_RULES, default_settings
from streams.rules.inputs import channel
from tests.unit.timeline import moment, to_line

SAMPLE: dict[str, Any] = {"type": "telemetry", "blood_flow_ml_min": 300}


class Watched:
    """A partition in which a rule has these fields kept."""

    def __init__(self, *fields: str) -> None:
        rules = tuple(
            replace(rule, inputs=(*rule.inputs, *map(channel, fields))) if rule.name == "uf_rate_high" else rule
            for rule in PATIENT_RULES
        )
        self.partition = patient_partition(default_settings(), timedelta(minutes=15), rules=rules)
        self.told: list[str] = []

    @property
    def state(self) -> PatientState:
        return self.partition.states["p1"]

    def send(self, at: str, received: str | None = None, **fields: Any) -> None:
        """An event of the session, which arrives when it happens unless told otherwise."""
        event = {"patient_id": "p1", "session_id": "s1", "machine_id": "m1", "at": moment(at).isoformat(), **fields}
        arrival = moment(received or at)
        found = [one.alert for one in self.partition.advance(arrival)]
        found += self.partition.take("p1", to_line(event).record, arrival)[2]
        self.told += [
            f"{alert.at:%H:%M} {alert.transition} {alert.priority}: {alert.summary}"
            for alert in found
            if alert.rule == "data_quality"
        ]

    def samples(self, since: str, until: str, fields: Mapping[str, float], every_s: int = 20) -> None:
        """Samples from one moment up to and without another."""
        at = moment(since)
        while at < moment(until):
            self.send(at.isoformat(), None, **SAMPLE, **fields)
            at += timedelta(seconds=every_s)
