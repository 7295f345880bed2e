"""Every recipe of docs/cookbook.md is run, and its printed answer is what it gives.

``Z4_REWRITE_COOKBOOK=1 pytest tests/unit/test_cookbook.py`` writes the answers anew: read the difference.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.cookbook import PAGE, Kitchen, recipes


async def test_every_recipe_gives_the_answer_that_the_page_shows(tmp_path: Path) -> None:
    found = recipes()
    assert len(found) >= 15
    assert len(found) == PAGE.read_text().count("```sql"), "each statement is followed by its answer"
    kitchen = Kitchen(tmp_path / "state")
    try:
        answers = [await kitchen.answer(recipe.sql) for recipe in found]
    finally:
        kitchen.close()
    if os.environ.get("Z4_REWRITE_COOKBOOK"):
        page = PAGE.read_text()
        for recipe, answer in zip(found, answers, strict=True):
            page = page.replace(
                f"{recipe.sql}```\n\n```\n{recipe.answer}```", f"{recipe.sql}```\n\n```\n{answer}```", 1
            )
        PAGE.write_text(page)
    for recipe, answer in zip(found, answers, strict=True):
        assert answer == recipe.answer, recipe.title
