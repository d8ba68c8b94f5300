"""What is written down for readers is what the code does."""

from streams.rules.document import PATH, document


def test_rules_document_is_that_of_the_catalogue() -> None:
    assert PATH.read_text(encoding="utf-8") == document(), "run: python -m streams.rules.document"
