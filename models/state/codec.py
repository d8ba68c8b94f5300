"""From state to changelog value and back, whatever version wrote it."""

from __future__ import annotations

from typing import Final, Generic

import msgspec

from models.state.history import History, as_json
from models.state.migrations import NEVER, migrate
from models.state.subject import StateT

#: Version of the stored form. An older one is migrated (models.state.migrations), a newer one refuses to start.
SCHEMA_VERSION: Final = 4

_ENCODER = msgspec.json.Encoder(enc_hook=as_json)


class NewerSchemaError(Exception):
    """The changelog was written by a newer version of the product, which this one cannot read."""


class _Version(msgspec.Struct):
    """The version of a stored state, and nothing else of it."""

    schema_version: int = 0


_version: Final = msgspec.json.Decoder(_Version)


class StateCodec(Generic[StateT]):
    """Turns the state of one kind of subject into a changelog value and back."""

    def __init__(self, kind: type[StateT]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        #: The fields that make up a history of their own in this kind of state.
        self._apart = frozenset(History.__struct_fields__) if "past" in kind.__struct_fields__ else frozenset[str]()

    def new(self, subject: str) -> StateT:
        """Make the state of a subject of which nothing is known yet."""
        return self.kind(id=subject, schema_version=SCHEMA_VERSION, heard_at=NEVER)

    def encode(self, state: StateT) -> bytes:
        """Encode a state as a changelog value."""
        return _ENCODER.encode(state)

    def decode(self, raw: bytes) -> StateT:
        """Decode a changelog value; migrate it where an older version of the product wrote it.

        Raises:
            NewerSchemaError: a newer version of the product wrote it.
            msgspec.DecodeError: it is no state.
        """
        try:
            state = self._decoder.decode(raw)
        except msgspec.ValidationError:
            self._check_version(_version.decode(raw).schema_version)
            state = self._decoder.decode(migrate(raw, SCHEMA_VERSION, self._apart))
        self._check_version(state.schema_version)
        if state.schema_version < SCHEMA_VERSION:
            state = self._decoder.decode(migrate(raw, SCHEMA_VERSION, self._apart))
        return state

    def _check_version(self, version: int) -> None:
        if version > SCHEMA_VERSION:
            raise NewerSchemaError(
                f"the changelog holds schema version {version}, this program reads up to {SCHEMA_VERSION}: "
                "start the newer version"
            )
