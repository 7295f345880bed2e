"""Queries that MySQL itself answered: ours agree byte for byte, or refuse; none differs."""

from __future__ import annotations

from pathlib import Path

from z4sql.sql.corpus import Corpus

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "mysql_queries.jsonl"
REFUSED = {
    "q281",  # assignment to a user variable inside a SELECT
}


def test_every_recorded_answer_is_given_or_refused_and_none_is_wrong() -> None:
    verdicts = list(Corpus(CORPUS).run())
    assert len(verdicts) == 282
    assert [verdict for verdict in verdicts if verdict.outcome == "wrong"] == []
    assert {verdict.id for verdict in verdicts if verdict.outcome == "error"} == REFUSED
