"""Codes of the events for which a dialysis machine alarms: IEEE 11073 numbers and reference ids (clinical.md 3.4).

Machines send either, and reference ids in older spellings; all of them name one alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final


@dataclass(frozen=True, slots=True)
class MachineCode:
    """What a machine may alarm for.

    Attributes:
        number: its IEEE 11073 code; the same event has this name in everything that is kept.
        refid: its reference id.
        words: what it is, for people.
        is_critical: its alarm is of priority high, whatever the machine sends (E04).
    """

    number: str
    refid: str
    words: str
    is_critical: bool = False


_CODES: Final = (
    MachineCode("196616", "MDC_EVT_ALARM", "an alarm that is not described"),
    MachineCode("196648", "MDC_EVT_HI", "a value above its limit"),
    MachineCode("196670", "MDC_EVT_LO", "a value below its limit"),
    MachineCode("198216", "MDC_EVT_SELFTEST_FAILURE", "self-test failed"),
    MachineCode("198236", "MDC_EVT_HDIALY_ANTICOAG_STOP", "anticoagulation stopped"),
    MachineCode("198238", "MDC_EVT_HDIALY_ANTICOAG_SYRINGE_EMPTY", "anticoagulant syringe empty"),
    MachineCode("198242", "MDC_EVT_HDIALY_BLD_PUMP_STOP", "blood pump stopped"),
    MachineCode("198244", "MDC_EVT_HDIALY_BLOOD_LEAK", "blood leak", is_critical=True),
    MachineCode("198252", "MDC_EVT_HDIALY_SAFETY_ART_AIR_DETECT", "air in the arterial line", is_critical=True),
    MachineCode("198254", "MDC_EVT_HDIALY_SAFETY_DIALYSATE_AIR_DETECT", "air in the dialysate"),
    MachineCode("198256", "MDC_EVT_HDIALY_SAFETY_DIALYSATE_COMPOSITION", "composition of the dialysate"),
    MachineCode("198258", "MDC_EVT_HDIALY_SAFETY_SYSTEM_GENERAL", "fault of the machine"),
    MachineCode("198260", "MDC_EVT_HDIALY_SAFETY_VEN_ACCESS", "venous access", is_critical=True),
    MachineCode("198262", "MDC_EVT_HDIALY_SAFETY_VEN_AIR_DETECT", "air in the venous line", is_critical=True),
    MachineCode("198264", "MDC_EVT_HDIALY_SAFETY_WETNESS_DETECT_ALERT", "wetness at the access"),
    MachineCode("198270", "MDC_EVT_HDIALY_THERAPY_TX_END_TIME", "end of the treatment time"),
    MachineCode("198272", "MDC_EVT_HDIALY_UF_LO", "ultrafiltration too low"),
    MachineCode("198274", "MDC_EVT_HDIALY_UF_NEG", "negative ultrafiltration"),
    MachineCode("198276", "MDC_EVT_HDIALY_UF_RATE_RANGE", "ultrafiltration rate out of range"),
    MachineCode("198278", "MDC_EVT_HDIALY_UF_GOAL_MET", "ultrafiltration goal met"),
)
#: Other spellings in the samples of the implementation guide.
_ALIASES: Final = {"MDC_EVT_HDIALY_ALARM_BLD_PUMP_STOP": "198242", "MDC_EVT_LOW": "196670"}
_BY_NUMBER: Final = {code.number: code for code in _CODES}
_BY_NAME: Final = {
    **_BY_NUMBER,
    **{code.refid: code for code in _CODES},
    **{name: _BY_NUMBER[number] for name, number in _ALIASES.items()},
}


@lru_cache(maxsize=1024)
def known_code(code: str) -> MachineCode | None:
    """Return what a code names: a number, a reference id, or the coded element of HL7 (`number^refid^MDC`)."""
    parts = (part.strip().upper() for part in code.split("^"))
    return next((found for part in parts if (found := _BY_NAME.get(part)) is not None), None)


@lru_cache(maxsize=1024)
def one_name(code: str) -> str:
    """Return the one name under which an alarm is kept: its number; an unknown code as it came, in capitals."""
    known = known_code(code)
    return code.upper() if known is None else known.number
