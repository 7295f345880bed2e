"""Queries that MySQL itself answered: ours agree byte for byte."""

from __future__ import annotations

from pathlib import Path

from z4sql.sql.corpus import Corpus

CORPUS = Path(__file__).resolve().parents[1] / "corpus" / "mysql_queries.jsonl"


def test_every_recorded_answer_is_given() -> None:
    verdicts = list(Corpus(CORPUS).run())
    assert len(verdicts) == 282
    assert [verdict for verdict in verdicts if verdict.outcome != "right"] == []
