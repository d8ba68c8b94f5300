"""Which details were left out, said once a source: a sender that gets one wrong gets it wrong every time."""

from collections.abc import Iterator
from typing import Any, Final

from models.repair import LeftOut

#: So many (topic, source, type, field) are remembered; what comes after them is only counted.
MAX_SAID: Final = 1000


class OnceASource:
    """Remembers what was said of which source."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str, str, str]] = set()

    def news(self, topic: str, event: Any, details: tuple[LeftOut, ...]) -> Iterator[str]:
        """A sentence for each detail of which nothing was said yet; none names a patient or a value.

        Args:
            topic: the topic, or the file.
            event: the record that is used without them.
            details: what was left out.
        """
        kind = str(type(event).__struct_config__.tag)
        source = getattr(event, "machine_id", None) or event.source or ""
        for detail in details:
            key = (topic, source, kind, detail.field)
            if key not in self._said and len(self._said) < MAX_SAID:
                self._said.add(key)
                sender = f" from {source}" if source else ""
                yield f"{detail.field}: {detail.why}; left out of the {kind}{sender}, which is used (said once)"
