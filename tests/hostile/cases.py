"""All cases."""

from typing import Final

from tests.hostile import subjects
from tests.hostile.stage import Case

CASES: Final[tuple[Case, ...]] = subjects.CASES
BY_NAME: Final = {case.name: case for case in CASES}
