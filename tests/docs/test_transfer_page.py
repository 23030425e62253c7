"""What docs/transfer.md shows is a page."""

from __future__ import annotations

from harness.documents import REPOSITORY, blocks
from windrow import experiment
from windrow.experiment.head_space import HEAD_SPACE


def test_the_page_of_photographs_is_the_shipped_one_and_short() -> None:
    (text,) = (block.text for block in blocks("docs/transfer.md") if block.language == "yaml")
    assert text.strip() == (REPOSITORY / "dags" / "experiments" / "photos.yaml").read_text().strip()
    assert len(text.splitlines()) <= 12
    page = experiment.parse(text)
    assert (page.network.builder, list(page.space)) == ("head", list(HEAD_SPACE))
