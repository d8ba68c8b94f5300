"""Every line of the source article is answered: by a rule, by a text, or by a sentence that says why not."""

from __future__ import annotations

from streams.rules.coverage import LINES, PATH, UNANSWERED, answers, cited, document

_LAST_LINE = 63


def test_every_line_has_an_answer() -> None:
    assert list(LINES) == list(range(1, _LAST_LINE + 1))
    without = [line for line, found in answers().items() if not found.found and not UNANSWERED.get(line)]
    assert not without, f"no rule and no text cites L{without}: say why in streams/rules/coverage.py, UNANSWERED"


def test_no_reason_is_superfluous() -> None:
    superfluous = [line for line, found in answers().items() if found.found and line in UNANSWERED]
    assert not superfluous, f"a rule or a text cites L{superfluous} now: take it out of UNANSWERED and regenerate"


def test_nothing_cites_a_line_that_the_article_does_not_have() -> None:
    assert set(answers()) == set(LINES)


def test_the_document_is_that_of_the_catalogue() -> None:
    assert PATH.read_text(encoding="utf-8") == document(), "run: python -m streams.rules.coverage"


def test_lines_are_read_from_a_source() -> None:
    assert cited("article L2, L14-L17; KDOQI L5") == {2, 14, 15, 16, 17}
    assert cited("low below this; article L2 and L16, one bound a unit") == {2, 16}
    assert cited("article L9-11, against article L32 (clinical.md R24, L40)") == {9, 10, 11, 32}
    assert cited("clinical.md 2.5; PACE") == set()
