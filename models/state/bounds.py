"""Bounds of what is kept of a subject: windows, numbers of records, and bytes of JSON.

Identifiers and texts are bounded in characters; the byte bounds limit their sum, whatever the alphabet.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

#: The longest window of any rule (a month of cramps, aluminium on a loop) with five days for late messages.
#: An event older than this when it arrives raises nothing.
LONGEST_WINDOW: Final = timedelta(days=35)
#: A session without a known end counts as over after this (SLED runs longest).
LONGEST_SESSION: Final = timedelta(hours=24)
#: A subject without messages for this long is retired, unless an alert is open or a deadline is set.
RETIRE_AFTER: Final = timedelta(days=400)

#: How many records of a kind are kept of one patient; the oldest go first and are counted.
MAX_LABS: Final = 200
#: Versions of results that no longer stand; and of a single result, those that stand and those that do not.
MAX_VERSIONS: Final = 100
MAX_VERSIONS_OF_RESULT: Final = 10
#: Start and end messages of one session id, and its stretches of blood flow.
MAX_SESSION_MESSAGES: Final = 20
MAX_FLOWS: Final = 10
#: Machines whose samples tell of one session id.
MAX_MACHINES: Final = 4
MAX_SYMPTOMS: Final = 200
MAX_SESSIONS: Final = 40
MAX_RESPONSES: Final = 100
#: Steps of orders; those of drugs that no rule reads are not kept. Three doses a day of two drugs for a month.
MAX_MEDICATIONS: Final = 200
MAX_OTHERS: Final = 100
#: Starts of one machine alarm (session and code), and its stretches; the message that began one stays with it.
MAX_ALARM_STARTS: Final = 20
MAX_ALARM_RUNS: Final = 10
#: Of so many alarms what they rest on stays where there are more messages than `MAX_OTHERS`: three of each.
MAX_ALARMS: Final = 20
MAX_OVER_ALERTS: Final = 100
MAX_SIGNALS: Final = 500
MAX_SOURCES: Final = 50
#: Patients of one chair, and chairs of one patient: two are enough, the others came before or after.
MAX_SEATS: Final = 8
#: How many inputs an alert shows and rests on: the first, and the newest.
MAX_EVIDENCE: Final = 20
#: How much of a free text is kept, in characters; the whole is on the input topic.
MAX_TEXT: Final = 200

#: All inputs that are kept of one subject, with their arrivals and the like. Above it the least needed are dropped.
MAX_INPUT_BYTES: Final = 384 * 1024
#: How much of them stays then. The room for later events saves measuring again at each of them.
KEPT_INPUT_BYTES: Final = MAX_INPUT_BYTES * 3 // 4
#: How much of them may be alarms that open alerts rest on, which never go otherwise: a machine alarms by itself (E03).
MAX_ALARM_BYTES: Final = KEPT_INPUT_BYTES // 4
#: How much of them stays where the broker refuses the record all the same.
LEAST_INPUT_BYTES: Final = 16 * 1024
#: The newest transitions of alerts that are over and still shown; the oldest leave `alerts.active` early.
MAX_OVER_BYTES: Final = 128 * 1024
#: The evidence of one alert, and likewise its anchors.
MAX_EVIDENCE_BYTES: Final = 8 * 1024
#: The alert that inputs were dropped ends when none was dropped for this long.
DROPS_FORGOTTEN: Final = timedelta(hours=24)


class Drops(msgspec.Struct, frozen=True, gc=False):
    """Inputs of one subject that were dropped because too much was received.

    `told` are the counts that the alert shows; they follow `counts` only when the sum has doubled.
    """

    since: datetime
    at: datetime
    counts: dict[str, int]
    told: dict[str, int]
