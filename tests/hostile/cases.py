"""All cases."""

from typing import Final

from tests.hostile import http, kafka, places, subjects
from tests.hostile.stage import Case

CASES: Final[tuple[Case, ...]] = (*subjects.CASES, *kafka.CASES, *places.CASES, *http.CASES)
BY_NAME: Final = {case.name: case for case in CASES}
