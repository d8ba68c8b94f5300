"""JSON Schemas of every event and of `Alert`, from the models: `python -m models.schemas` writes `docs/schemas/`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from models import events
from models.alerts import Alert
from models.fields import descriptive_fields, sometimes_strict

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "schemas"


def event_models() -> dict[str, type[BaseModel]]:
    """Return every model that an input topic carries, by the name of its schema."""
    unions = (*get_args(get_args(events.PatientEvent)[0]), *get_args(get_args(events.LoopEvent)[0]))
    named = {str(model.model_fields["type"].default): model for model in unions if issubclass(model, events.Event)}
    named |= {"unit_signal": events.UnitSignal, "chair_signal": events.ChairSignal}
    named["unit_alert_response"] = events.UnitAlertResponse
    return dict(sorted(named.items()))


def schemas() -> dict[str, str]:
    """Return the text of every schema file, by file name; the same on every run."""
    models: dict[str, type[BaseModel]] = {"alert": Alert, **event_models()}
    return {f"{name}.json": _text(schema_of(model)) for name, model in sorted(models.items())}


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of what parsing accepts, or for `Alert` of what is sent."""
    schema = model.model_json_schema(mode="serialization" if model is Alert else "validation")
    if "type" in model.model_fields:
        # Optional in Python, where a default saves typing; on the wire it distinguishes events.
        schema["required"] = ["type", *schema["required"]]
        _tell_how_strict(model, schema)
    return {"$schema": _DIALECT, **schema}


_REQUIRED: Final = "Required and strict: without a usable value the message is a dead letter."
_STRICT: Final = "Strict: null is absent, an unusable value makes the message a dead letter."
_DESCRIPTIVE: Final = (
    "Descriptive: null is absent, an unusable value (of a list: item) is left out and counted, the event is used."
)


def _tell_how_strict(model: type[BaseModel], schema: dict[str, Any]) -> None:
    """Describe for every field what an unusable value does; mark those that always only describe `x-descriptive`."""
    details, sometimes = descriptive_fields(model), sometimes_strict(model)
    properties = [(schema["properties"], schema["required"])]
    properties += [
        (part["properties"], part["required"]) for part in schema.get("$defs", {}).values() if "properties" in part
    ]
    for fields, required in properties:
        for name, field in fields.items():
            descriptive = fields is schema["properties"] and name in details
            how = _DESCRIPTIVE if descriptive else _REQUIRED if name in required else _STRICT
            if fields is schema["properties"] and name in sometimes:
                how = f"{_DESCRIPTIVE} Strict where `{sometimes[name][0]}` is {sometimes[name][1]}."
            field["description"] = " ".join(filter(None, (field.get("description"), how)))
            if descriptive:
                field["x-descriptive"] = True


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def write(folder: Path = FOLDER) -> None:
    """Write every schema and remove those of models that no longer exist."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = schemas()
    for file in folder.glob("*.json"):
        if file.name not in texts:
            file.unlink()
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
