"""Engine SQL that gives the same for less, where it is known what the columns of tasks can hold.

Text is compared through a folding of case and accents, row by row: as costly as all the rest of a query over
columns that lie in memory. Here it is spared where it cannot change anything.
"""

from __future__ import annotations

import re
from typing import Final

from z4sql.sql.scan.members import QUOTED

_TABLE: Final = r'(?:"(?:[^"]|"")+")'
_STATE: Final = re.compile(rf'my_ci\((?P<kept>{_TABLE}\."state")\)|{QUOTED}')
_DELIVER_AT: Final = rf'(?P<at>{_TABLE}\."deliver_at")'
_NUMERIC: Final = r"(?P<format>'(?:%[YmdHMSf]|[-0-9 :/.T])+')"
_FOLDED_TIME: Final = re.compile(rf"my_ci\(\((?P<kept>strftime\({_DELIVER_AT},{_NUMERIC}\))\)\)|{QUOTED}")
_GROUPED_BY_TIME: Final = re.compile(rf" group by strftime\({_DELIVER_AT},{_NUMERIC}\)(?= order by |$)")
_UNITS: Final = {
    "'%Y-%m'": "month",
    "'%Y-%m-01'": "month",
    "'%Y-%m-%d'": "day",
    "'%Y-%m-%d 00:00:00'": "day",
    "'%Y-%m-%d %H'": "hour",
    "'%Y-%m-%d %H:00'": "hour",
    "'%Y-%m-%d %H:00:00'": "hour",
    "'%Y-%m-%d %H:%M'": "minute",
    "'%Y-%m-%d %H:%M:00'": "minute",
    "'%Y-%m-%d %H:%M:%S'": "second",
}
"""What times that are shown alike have in common."""


def cheaper(sql: str) -> str:
    """The same query of one relation of tasks: states are lower-case ASCII, and digits have no case."""

    def kept(found: re.Match[str]) -> str:
        return found["kept"] or found[0]

    return _by_unit(_FOLDED_TIME.sub(kept, _STATE.sub(kept, sql)))


def _by_unit(sql: str) -> str:
    """Groups by a unit of time instead of by its text, which is then written once for each group."""
    found = _GROUPED_BY_TIME.search(sql)
    if found is None or sql.count(" group by ") != 1 or found["format"] not in _UNITS:
        return sql
    shown = f"strftime({found['at']},{found['format']})"
    once = f"strftime(any_value({found['at']}),{found['format']})"
    before, behind = sql[: found.start()], sql[found.end() :]
    head, tail = (part.replace(f"any_value(({shown}))", once) for part in (before, behind))
    if shown in head or shown in tail:
        return sql
    return f"{head} group by date_trunc('{_UNITS[found['format']]}',{found['at']}){tail}"
