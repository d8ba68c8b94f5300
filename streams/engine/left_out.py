"""Reports of details that were left out, once a source: a sender that gets one wrong gets it wrong every time."""

from collections.abc import Iterator
from typing import Any, Final

from models.repair import LeftOut

#: How many (topic, source, type, field) are remembered; later ones are only counted.
MAX_SAID: Final = 1000


class OnceASource:
    """Remembers which details were reported of which source."""

    def __init__(self) -> None:
        self._said: set[tuple[str, str, str, str]] = set()

    def news(self, topic: str, event: Any, details: tuple[LeftOut, ...]) -> Iterator[str]:
        """Yield a sentence for each detail that was not reported yet; none names a patient or a value.

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
