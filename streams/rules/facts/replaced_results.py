"""Results that others replace (`replaces`): corrections that a laboratory sends under new ids.

Links are of one analyte. Results that replace each other in a circle contradict each other: none of them is replaced.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from models.identity import analyte_of
from models.records import LabResult
from models.state import PatientState

#: The ids of the results that each result replaces.
Links = Mapping[str, set[str]]


def held_results(state: PatientState) -> Iterable[LabResult]:
    """Return every kept version of every result, whether it stands or not."""
    return chain(state.labs.values(), state.versions.values())


def links_of(records: Iterable[LabResult], analyte: object) -> Links:
    """Return which results each result of an analyte (or, where that is unknown, of a LOINC code) replaces."""
    links: dict[str, set[str]] = {}
    for record in records:
        old = record.replaces
        if old and old != record.result_id and _analyte(record) == analyte:
            links.setdefault(record.result_id, set()).add(old)
    return links


def connected(name: str, links: Links) -> set[str]:
    """Return a result and every result that a chain of corrections connects with it."""
    found, waiting = {name}, [name]
    while waiting:
        one = waiting.pop()
        near = set(links.get(one, ())) | {other for other, targets in links.items() if one in targets}
        waiting += near - found
        found |= near
    return found


def replaced_by_another(links: Links) -> set[str]:
    """Return the results that do not stand because another replaces them."""
    return {old for new, targets in links.items() for old in targets if not _reaches(old, new, links)}


def circles(state: PatientState) -> Iterator[tuple[str, list[LabResult]]]:
    """Yield the analytes with results that replace each other in a circle, and the messages of the circle."""
    saying = [record for record in held_results(state) if record.replaces]
    for analyte in sorted({_analyte(record) for record in saying}):
        links = links_of(saying, analyte)
        found = [one for one in saying if _analyte(one) == analyte and _reaches(one.result_id, one.result_id, links)]
        if found:
            yield analyte, sorted(found, key=lambda record: (record.at, record.result_id))


def _analyte(record: LabResult) -> str:
    return str(analyte_of(record) or record.loinc)


def _reaches(start: str, goal: str, links: Links) -> bool:
    seen: set[str] = set()
    waiting = list(links.get(start, ()))
    while waiting:
        one = waiting.pop()
        if one == goal:
            return True
        if one not in seen:
            seen.add(one)
            waiting += links.get(one, ())
    return False
