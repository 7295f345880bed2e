"""Reading the words of a statement from left to right."""

from __future__ import annotations

from z4sql.sql.front.source import Part, Piece, Source


class Cursor:
    """A place in the pieces of a statement. All errors are 1064, at the place."""

    def __init__(self, source: Source, at: int) -> None:
        self.source = source
        self.at = at

    @property
    def word(self) -> str:
        """The word here in upper case, empty when there is none."""
        return self.source.word(self.at)

    @property
    def finished(self) -> bool:
        return self.at >= len(self.source.pieces)

    def accept(self, *words: str) -> bool:
        """Step over all of ``words`` if they stand here in that order."""
        if all(self.source.word(self.at + index) == word for index, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def accept_any(self, *words: str) -> str:
        """Step over one of ``words``; which one, empty when none stands here."""
        found = self.word
        if found and found in words:
            self.at += 1
            return found
        return ""

    def symbol(self, value: str) -> bool:
        if not self.finished and self._piece().part is Part.SYMBOL and self._piece().value == value:
            self.at += 1
            return True
        return False

    def name(self) -> str:
        """A name, as written."""
        if self.finished or self._piece().part not in (Part.WORD, Part.QUOTED):
            raise self.source.problem(self.at)
        piece = self._piece()
        self.at += 1
        return piece.value if piece.part is Part.QUOTED else self.source.text[piece.start : piece.end]

    def string(self) -> str:
        if self.finished or self._piece().part is not Part.STRING:
            raise self.source.problem(self.at)
        self.at += 1
        return self.source.pieces[self.at - 1].value

    def number(self) -> int:
        if self.finished or self._piece().part is not Part.NUMBER or not self._piece().value.isdigit():
            raise self.source.problem(self.at)
        self.at += 1
        return int(self.source.pieces[self.at - 1].value)

    def limit(self) -> tuple[int, int | None]:
        """``LIMIT [offset,] count``, ``LIMIT count OFFSET offset`` or nothing, and the end: offset, count."""
        offset, count = 0, None
        if self.accept("LIMIT"):
            count = self.number()
            if self.symbol(","):
                offset, count = count, self.number()
            elif self.accept("OFFSET"):
                offset = self.number()
        self.end()
        return offset, count

    def table_name(self) -> tuple[str | None, str]:
        """``table`` or ``database.table``."""
        first = self.name()
        return (first, self.name()) if self.symbol(".") else (None, first)

    def rest(self) -> str:
        """The text from here on; steps to the end."""
        if self.finished:
            raise self.source.problem(self.at)
        start = self._piece().start
        self.at = len(self.source.pieces)
        return self.source.text[start:]

    def end(self) -> None:
        if not self.finished:
            raise self.source.problem(self.at)

    def _piece(self) -> Piece:
        return self.source.pieces[self.at]
