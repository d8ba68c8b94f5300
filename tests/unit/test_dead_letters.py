import hashlib

from aiokafka.structs import ConsumerRecord
from hypothesis import given
from hypothesis import strategies as st

from models.text import printable
from streams.kafka.clients import Record
from streams.kafka.dead_letter import Origin, as_read, dead_letter
from streams.transport.api import Oversized

MAX = 64 * 1024


def record(
    key: bytes | None = b"p-1", value: bytes | None = b"{", headers: tuple[tuple[str, bytes], ...] = ()
) -> Record:
    return ConsumerRecord(
        topic="dialysis.lab-results",
        partition=3,
        offset=41,
        timestamp=1_700_000_000_000,
        timestamp_type=1,
        key=key,
        value=value,
        checksum=None,
        serialized_key_size=len(key or b""),
        serialized_value_size=len(value or b""),
        headers=headers,
    )


def test_it_keeps_the_bytes_and_says_where_they_came_from() -> None:
    letter = dead_letter(record(value=b"\xff{"), "invalid_json", "message: not JSON", MAX)
    assert letter.key == b"p-1"
    assert letter.value == b"\xff{"
    assert letter.headers == (
        ("dl_topic", b"dialysis.lab-results"),
        ("dl_partition", b"3"),
        ("dl_offset", b"41"),
        ("dl_reason", b"invalid_json"),
        ("dl_detail", b"message: not JSON"),
    )


def test_what_is_too_large_is_cut_and_says_so() -> None:
    whole = bytes(range(256)) * 1024
    letter = dead_letter(record(value=whole), "invalid_json", "", MAX)
    assert letter.value == whole[: MAX - 3]
    headers = dict(letter.headers)
    assert headers["dl_size"] == str(len(whole)).encode()
    assert headers["dl_sha256"] == hashlib.sha256(whole).hexdigest().encode()


def test_what_just_fits_is_not_cut() -> None:
    value = b"x" * (MAX - 3)
    letter = dead_letter(record(value=value), "invalid_json", "", MAX)
    assert letter.value == value
    assert "dl_size" not in dict(letter.headers)


def test_a_huge_key_is_cut_too() -> None:
    letter = dead_letter(record(key=b"k" * MAX, value=None), "key_mismatch", "", MAX)
    assert letter.key == b"k" * (MAX // 2)
    assert letter.value is None
    assert dict(letter.headers)["dl_size"] == b"0"


def test_nothing_at_all_can_still_be_sent() -> None:
    """aiokafka refuses a message with neither key nor value: it would stop the worker."""
    letter = dead_letter(record(key=None, value=None), "empty", "the message has no value", MAX)
    assert (letter.key, letter.value) == (None, b"")
    assert "dl_size" not in dict(letter.headers)


def test_a_long_detail_is_cut() -> None:
    letter = dead_letter(record(), "wrong_type", "ä" * 5000, MAX)
    assert len(dict(letter.headers)["dl_detail"]) == 1000
    origin = Origin.of(record(headers=letter.headers))
    assert origin is not None
    assert origin.detail.startswith("ää")


def test_own_headers_stay_unless_they_pretend_or_are_large() -> None:
    own = (("traceparent", b"00-1"), ("dl_reason", b"forged"), ("dl_redriven", b"0:7"))
    letter = dead_letter(record(headers=own), "empty", "", MAX)
    assert letter.headers[5:] == (("traceparent", b"00-1"), ("dl_redriven", b"0:7"))
    assert [value for name, value in letter.headers if name == "dl_reason"] == [b"empty"]
    large = dead_letter(record(headers=(("x", b"y" * 9000),)), "empty", "", MAX)
    assert len(large.headers) == 5


def test_the_headers_are_read_back() -> None:
    letter = dead_letter(record(headers=(("dl_redriven", b"0:7"), ("a", b"b"))), "empty", "no value", MAX)
    origin = Origin.of(record(headers=letter.headers))
    assert origin is not None
    assert (origin.topic, origin.partition, origin.reason) == ("dialysis.lab-results", 3, "empty")
    assert (origin.cut, origin.came_back, origin.headers) == (False, True, (("a", b"b"),))
    assert origin.matches(None, None)
    assert origin.matches("empty", "dialysis.lab-results")
    assert not origin.matches("wrong_type", None)
    assert not origin.matches(None, "dialysis.machine-events")


def test_foreign_messages_are_known_by_their_headers() -> None:
    assert Origin.of(record()) is None
    forged = (("dl_topic", b"x"), ("dl_partition", b"one"), ("dl_reason", b"y"))
    assert Origin.of(record(headers=forged)) is None


@given(st.none() | st.binary(max_size=200), st.none() | st.binary(max_size=200), st.text(max_size=2000))
def test_any_record_becomes_a_message_that_fits(key: bytes | None, value: bytes | None, detail: str) -> None:
    limit = 100
    letter = dead_letter(record(key, value), "wrong_type", detail, limit)
    assert len(letter.key or b"") + len(letter.value or b"") <= limit
    assert letter.key is not None or letter.value is not None
    cut = "dl_size" in dict(letter.headers)
    if not cut:
        assert letter.key == key
        assert (letter.value or None) == (value or None)


def test_terminals_are_safe_from_what_others_wrote() -> None:
    assert printable("\x1b[2Jpatient\n: ok ä") == "?[2Jpatient?: ok ä"


GOOD = {"dl_topic": b"dialysis.lab-results", "dl_partition": b"3", "dl_offset": b"41", "dl_reason": b"invalid_json"}


def forged(**changed: bytes) -> Record:
    return record(headers=tuple((GOOD | changed).items()))


def test_forged_headers_are_not_ours() -> None:
    assert Origin.of(forged()) is not None
    for partition in (b"-5", b"99999999999", "٣".encode(), b"", b"1e3", b" 1", b"\xff", b"9" * 400):
        assert Origin.of(forged(dl_partition=partition)) is None, partition
    assert Origin.of(forged(dl_offset=b"x")) is None
    for topic in (b"\x1b[31m", b"", b"a b", b"x" * 250, b"\xff"):
        assert Origin.of(forged(dl_topic=topic)) is None, topic
    for reason in (b"\x1b]0;x\x07", b"", b"Reason", b"x" * 65):
        assert Origin.of(forged(dl_reason=reason)) is None, reason
    assert Origin.of(record(None, None, tuple(GOOD.items()))) is None, "nothing could be published"


def test_a_batch_that_was_too_large_is_kept_as_it_was_packed_and_is_not_to_be_redriven() -> None:
    packed = Oversized.of(b"packed", "a batch", (("dl_first_offset", b"2"), ("dl_codec", b"zstd")))
    letter = dead_letter(record(None, packed), "too_large", packed.detail, MAX)
    assert letter.value == b"packed"
    assert dict(letter.headers)["dl_first_offset"] == b"2"
    origin = Origin.of(record(None, b"packed", letter.headers))
    assert origin is not None
    assert origin.cut
    assert origin.headers == ()


def test_what_was_never_read_is_a_dead_letter_of_ours() -> None:
    letter = dead_letter(as_read("patients", 2, b"p-1", b"{}"), "state_too_large", "too large", MAX)
    found = Origin.of(record(letter.key, letter.value, letter.headers))
    assert found is not None
    assert (found.topic, found.partition, found.reason) == ("patients", 2, "state_too_large")
    assert Origin.of(forged(dl_offset=b"-2")) is None
