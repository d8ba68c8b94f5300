"""The documents that are generated are those of the catalogue."""

from streams.rules.document import FOLDER, documents


def test_rules_documents_are_those_of_the_catalogue() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m streams.rules.document"


def test_every_page_is_of_a_family() -> None:
    assert set(FOLDER.glob("*.md")) <= documents().keys()
