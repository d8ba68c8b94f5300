"""How large a record may become, in bytes of its JSON.

Identifiers and texts are bounded in characters; this bounds what they add up to, whatever alphabet they are in.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import msgspec

#: All inputs that are held of one subject, with what is noted about them. Above it the least needed go.
MAX_INPUT_BYTES: Final = 384 * 1024
#: How much is left of them then: room for what comes, so that not every further event has to look again.
KEPT_INPUT_BYTES: Final = MAX_INPUT_BYTES * 3 // 4
#: What is left where the broker refuses the record all the same.
LEAST_INPUT_BYTES: Final = 16 * 1024
#: The newest transitions of alerts that are over and still shown; the oldest leave `alerts.active` early.
MAX_OVER_BYTES: Final = 128 * 1024
#: The evidence of one alert, and what it may be named after.
MAX_EVIDENCE_BYTES: Final = 8 * 1024
#: The alert that inputs were dropped ends when none was for so long.
DROPS_FORGOTTEN: Final = timedelta(hours=24)


class Drops(msgspec.Struct, frozen=True, gc=False):
    """Inputs of one subject that were dropped because too much was received.

    `told` are the counts that the alert shows: they follow `counts` only when their sum has doubled.
    """

    since: datetime
    at: datetime
    counts: dict[str, int]
    told: dict[str, int]
