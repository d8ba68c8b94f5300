"""Read the settings, and report errors by the names of environment variables, which people set."""

from typing import Any, Final

from pydantic import ValidationError

from models.settings import Settings

_PREFIX: Final = str(Settings.model_config["env_prefix"])
_LONGEST: Final = 100
_WANTS: Final = {
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "int_parsing_size": "a whole number of fewer digits",
    "string_unicode": "text in UTF-8",
    "greater_than": "more than {gt}",
    "greater_than_equal": "{ge} or more",
    "less_than": "less than {lt}",
    "less_than_equal": "{le} or less",
    "string_pattern_mismatch": "only what {pattern} allows",
    "literal_error": "one of {expected}",
}


class EnvironmentVariablesError(Exception):
    """Some settings are wrong; `lines` holds one line a problem."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = lines


def read_settings() -> Settings:
    """Read the settings of this process.

    Raises:
        EnvironmentVariablesError: Some cannot be used.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise EnvironmentVariablesError([_line(problem) for problem in error.errors()]) from None


def _line(problem: Any) -> str:
    """Format a problem: `DIALYSIS_PARTITIONS is '0', wants 1 or more (Partitions of every patient topic)`."""
    name = str(problem["loc"][0]) if problem["loc"] else ""
    described = Settings.model_fields[name].description if name in Settings.model_fields else None
    about = f" ({described})" if described else ""
    return f"{_PREFIX}{name.upper()} is {_shown(problem['input'])}, wants {_wants(problem)}{about}."


def _shown(value: Any) -> str:
    """Quote the value, cut where it is long; escape unprintable text, such as bytes that are not UTF-8."""
    text = ascii(str(value)) if not str(value).isprintable() else repr(str(value))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _wants(problem: Any) -> str:
    if problem["type"] == "value_error":
        # Messages of our own validators have the form "'what it got' is not what it wants".
        return str(problem["ctx"]["error"]).rpartition(" is not ")[2]
    wording = _WANTS.get(problem["type"])
    return wording.format(**problem.get("ctx", {})) if wording else str(problem["msg"])
