"""The documents that are generated are those of the catalogue."""

from streams.rules.catalogue import ALL_RULES
from streams.rules.document import FOLDER, documents


def test_rules_documents_are_those_of_the_catalogue() -> None:
    for path, text in documents().items():
        assert path.read_text(encoding="utf-8") == text, "run: python -m streams.rules.document"


def test_every_page_is_of_a_family() -> None:
    assert set(FOLDER.glob("*.md")) <= documents().keys()


def test_every_pair_of_an_inhibition_is_in_its_table() -> None:
    lines = (FOLDER / "inhibition.md").read_text(encoding="utf-8").splitlines()
    pairs = [(rule.name, each) for rule in ALL_RULES for each in rule.yields_to]
    rows = [line for line in lines if line.startswith("| [")]
    assert len(rows) == len(pairs)
    for lesser, pair in pairs:
        (row,) = (row for row in rows if f"[`{lesser}`]" in row and f"[`{pair.by}`]" in row)
        assert pair.why in row
        assert ("held back" in row) is pair.holds_back
