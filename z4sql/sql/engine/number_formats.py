"""FORMAT(): numbers as the people of a country write them. MySQL manual: String Functions; Locale Support."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Context, Decimal
from functools import partial
from math import isfinite
from typing import Final, NamedTuple

from z4sql.sql.engine.warnings import warn

_DECIMALS_MAX: Final = 30
_WIDE: Final = Context(prec=400)


class _Style(NamedTuple):
    """``behind_thousands``: digits of the groups in front of the first three; 0: no groups at all."""

    point: str = "."
    separator: str = ","
    behind_thousands: int = 3


_BYTE_UNITS: Final = (
    *((1024.0**power, f"{letter}iB") for power, letter in zip(range(6, 0, -1), "EPTGMK", strict=True)),
    (1.0, "bytes"),
)
_TIME_UNITS: Final = (
    (86_400e12, "d"),
    (3_600e12, "h"),
    (60e12, "min"),
    (1e12, "s"),
    (1e9, "ms"),
    (1e6, "us"),
    (1e3, "ns"),
    (1.0, "ps"),
)
_UNREADABLE: Final = 100_000.0
_ENGLISH: Final = _Style()
_STYLES: Final = {
    _ENGLISH: """
        ar_AE ar_BH ar_DZ ar_EG ar_IN ar_IQ ar_JO ar_KW ar_LB ar_LY ar_MA ar_OM ar_QA ar_SD ar_SY ar_TN ar_YE
        en_AU en_CA en_GB en_NZ en_PH en_US en_ZA en_ZW es_DO es_GT es_HN es_MX es_NI es_PA es_PE es_PR es_SV
        es_US gu_IN he_IL hi_IN ja_JP ko_KR ms_MY th_TH ur_PK zh_CN zh_HK zh_TW
    """,
    _Style(behind_thousands=0): "ar_SA sr_RS",
    _Style(",", "."): """
        be_BY da_DK de_BE de_DE de_LU es_AR es_BO es_CL es_CO es_EC es_ES es_PY es_UY es_VE fo_FO hu_HU id_ID
        is_IS lt_LT mn_MN nb_NO no_NO ro_RO ru_UA sq_AL tr_TR uk_UA vi_VN
    """,
    _Style(",", "\0"): "bg_BG",
    _Style(",", behind_thousands=0): """
        ca_ES de_AT el_GR eu_ES fr_BE fr_CA fr_CH fr_FR fr_LU gl_ES hr_HR it_IT nl_BE nl_NL pl_PL pt_BR pt_PT
        sl_SI
    """,
    _Style(",", " "): "cs_CZ es_CR et_EE fi_FI lv_LV mk_MK ru_RU sk_SK sv_FI sv_SE",
    _Style(".", "'"): "de_CH",
    _Style(",", "'"): "it_CH rm_CH",
    _Style(behind_thousands=2): "en_IN ta_IN te_IN",
}
_STYLE_OF: Final = {name.lower(): style for style, listed in _STYLES.items() for name in listed.split()}


def format_exact(value: str, decimals: int, locale: str) -> str:
    """A number as it is printed; a half is rounded away from zero."""
    places = _places(decimals)
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, _WIDE)
    return _written(rounded if rounded else abs(rounded), locale)


def format_double(value: float, decimals: int, locale: str) -> str:
    """A double, of which a half is rounded to the even neighbour."""
    places = _places(decimals)
    scaled = value * 10.0**places
    rounded = round(scaled, 0) / 10.0**places if isfinite(scaled) else value
    return _written(Decimal(repr(rounded)).quantize(Decimal(1).scaleb(-places), context=_WIDE), locale)


def format_bytes(count: float) -> str:
    """FORMAT_BYTES. MySQL manual: Performance Schema Functions."""
    return _scaled(count, _BYTE_UNITS, 4)


def format_pico_time(picoseconds: float) -> str:
    """FORMAT_PICO_TIME."""
    return _scaled(picoseconds, _TIME_UNITS, 3)


def _scaled(value: float, units: tuple[tuple[float, str], ...], width: int) -> str:
    """``value`` in the largest unit that it has; the smallest has no digits behind the point."""
    smallest = units[-1][1]
    size, unit = next((each for each in units if abs(value) >= each[0]), (1.0, smallest))
    if unit == smallest:
        return f"{int(value):{width}d} {unit}"
    scaled = value / size
    return f"{scaled:.2e} {unit}" if abs(scaled) >= _UNREADABLE else f"{scaled:.2f} {unit}"


def _places(decimals: int) -> int:
    return max(0, min(decimals, _DECIMALS_MAX))


def _written(value: Decimal, locale: str) -> str:
    style = _STYLE_OF.get(locale.lower())
    if style is None:
        warn(1649, f"Unknown locale: '{locale}'")
        style = _ENGLISH
    whole, _, fraction = f"{value:f}".partition(".")
    if style.behind_thousands:
        grouped = partial(re.sub, rf"(?<=\d)(?=(\d{{{style.behind_thousands}}})*$)", style.separator)
        front, thousands = whole[:-3], whole[-3:]
        whole = grouped(front) + thousands if front.strip("-") else whole
    return whole + (style.point + fraction if fraction else "")
