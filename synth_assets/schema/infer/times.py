"""Dates and datetimes, in memory and as text: the formats that they are written in."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.api import types

from synth_assets.schema.columns import Date, Datetime, with_numeric_offset
from synth_assets.schema.infer.guess import Guess
from synth_assets.schema.infer.texts import MIN_RUN, SAMPLE, said_of_gaps

_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_ISO_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
_OFFSET = r" ?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})"
_YEAR, _MONTH, _DAY = r"(?:19|20)\d{2}", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_DATE_FORMATS = (
    (r"\d{1,2}\.\d{1,2}\.\d{4}", ("%d.%m.%Y",)),
    (r"\d{4}/\d{1,2}/\d{1,2}", ("%Y/%m/%d",)),
    (r"\d{4}\.\d{1,2}\.\d{1,2}", ("%Y.%m.%d",)),
    (r"\d{1,2}/\d{1,2}/\d{4}", ("%m/%d/%Y", "%d/%m/%Y")),
    (r"\d{1,2}-\d{1,2}-\d{4}", ("%d-%m-%Y", "%m-%d-%Y")),
    (r"\d{1,2}\.\d{1,2}\.\d{2}", ("%d.%m.%y",)),
    (r"\d{1,2}/\d{1,2}/\d{2}", ("%m/%d/%y", "%d/%m/%y")),
    *(
        (pattern.replace("MONTH", month), (format_.replace("MONTH", name),))
        for month, name in ((r"[A-Za-z]{3}", "%b"), (r"[A-Za-z]+", "%B"))
        for pattern, format_ in (
            (r"\d{1,2}-MONTH-\d{4}", "%d-MONTH-%Y"),
            (r"\d{1,2}-MONTH-\d{2}", "%d-MONTH-%y"),
            (r"\d{1,2} MONTH \d{4}", "%d MONTH %Y"),
            (r"\d{1,2}\. MONTH \d{4}", "%d. MONTH %Y"),
            (r"\d{4}-MONTH-\d{1,2}", "%Y-MONTH-%d"),
            (r"MONTH \d{1,2} \d{4}", "MONTH %d %Y"),
            (r"MONTH-\d{1,2}-\d{4}", "MONTH-%d-%Y"),
            (r"MONTH \d{1,2}, \d{4}", "MONTH %d, %Y"),
            (r"[A-Za-z]{3}, \d{1,2} MONTH \d{4}", "%a, %d MONTH %Y"),
            (r"[A-Za-z]+, \d{1,2} MONTH \d{4}", "%A, %d MONTH %Y"),
            (r"[A-Za-z]+, MONTH \d{1,2}, \d{4}", "%A, MONTH %d, %Y"),
        )
    ),
)

_SHORT_FORMATS = (
    (r"[A-Za-z]{3} \d{4}", "%b %Y"),
    (r"[A-Za-z]{3}-\d{4}", "%b-%Y"),
    (r"[A-Za-z]{3}-\d{2}", "%b-%y"),
    (r"[A-Za-z]+ \d{4}", "%B %Y"),
    (r"\d{4} [A-Za-z]{3}", "%Y %b"),
    (f"{_MONTH}/{_YEAR}", "%m/%Y"),
    (f"{_YEAR}{_MONTH}", "%Y%m"),
    (f"{_YEAR}-{_MONTH}", "%Y-%m"),
    (f"{_YEAR}{_MONTH}{_DAY}", "%Y%m%d"),
    (rf"{_YEAR}{_MONTH}{_DAY}(?:[01]\d|2[0-3])[0-5]\d", "%Y%m%d%H%M"),
    (rf"{_YEAR}{_MONTH}{_DAY}\d{{6}}", "%Y%m%d%H%M%S"),
)
"""Formats of what may be a number, a label or a name: dates if there are `MIN_RUN` different ones, and all are."""

_SIX_DIGITS = ((f"\\d{{2}}{_MONTH}{_DAY}", "%y%m%d"), (f"{_MONTH}{_DAY}\\d{{2}}", "%m%d%y"))
"""Formats of numbers that are dates if the name of the column says so, too."""

_ZONES = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "America/New_York", "America/Chicago", "America/Denver"),
    *("America/Los_Angeles", "America/Halifax", "America/Anchorage", "Australia/Sydney", "Australia/Adelaide"),
    *("Pacific/Auckland", "America/Santiago", "America/St_Johns"),
)
"""Zones with a summer time whose two offsets are recognised; others with the same rules have the same offsets."""

_TIME_FORMATS = (
    ("", ""),
    (r" \d{1,2}:\d{2}", " %H:%M"),
    (r" \d{1,2}:\d{2}:\d{2}", " %H:%M:%S"),
    (r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M %p"),
    (r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p"),
)


def from_times(name: str, values: pd.Series) -> Guess:
    """Return a column of dates or datetimes for values of such a dtype."""
    nullable = values.hasnans
    zone = None
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        zone = str(values.dtype.tz)
    elif types.is_object_dtype(values.dtype) and any(getattr(value, "tzinfo", None) for value in values.dropna()):
        zone = "UTC"
    if zone is not None:
        zone = zone.removeprefix("UTC") or "UTC"  # a fixed offset is named UTC+02:00
        try:
            return Guess(Datetime(name=name, timezone=zone, nullable=nullable), f"datetimes in the zone {zone}")
        except ValueError:  # an offset with seconds
            return Guess(Datetime(name=name, timezone="UTC", nullable=nullable), "datetimes with an offset")
    times = pd.to_datetime(values).dropna()
    if (times == times.dt.normalize()).all():
        return Guess(Date(name=name, nullable=nullable), "dates")
    return Guess(Datetime(name=name, nullable=nullable), "dates with a time")


def short_dates(kept: pd.Series, common: dict[str, Any]) -> Guess | None:
    """Return a column of dates if all different texts are such as 20240131, 202401, 2024-01 or Jan 2024."""
    if len(kept) < MIN_RUN:
        return None
    formats = _SHORT_FORMATS + (_SIX_DIGITS if re.search(r"(?<![a-z])date|D(?:ate|ATE)", common["name"]) else ())
    possible = (each for each in formats if re.fullmatch(each[0], kept.iloc[0]))
    found = next((each for each in possible if kept.head(SAMPLE).str.fullmatch(each[0]).all()), None)
    if found is None or not kept.str.fullmatch(found[0]).all() or not _reads(kept, found[1]):
        return None
    if found in _SIX_DIGITS and all(kept.str.fullmatch(pattern).all() for pattern, _ in _SIX_DIGITS):
        return None  # 100112: in 2010 or in 2012
    if found[1] == "%Y-%m":
        years, months = kept.str.slice(0, 4).astype("int64"), kept.str.slice(-2).astype("int64")
        if (months == (years + 1) % 100).all():  # seasons, such as 2009-10
            return None
    kind = Datetime if "%H" in found[1] else Date
    return Guess(kind(**common, format=found[1]), f"dates in the format {found[1]}{said_of_gaps(common)}")


def times_as_text(kept: pd.Series, common: dict[str, Any]) -> tuple[Guess, ...]:
    """Return a column of dates or datetimes if all texts read as one; two if day and month could be either."""
    said = said_of_gaps(common)
    head = kept.head(SAMPLE)
    if head.str.fullmatch(_ISO_DATE).all() and kept.str.fullmatch(_ISO_DATE).all():
        return (Guess(Date(**common), f"dates{said}"),) if _reads(kept, "%Y-%m-%d") else ()
    if head.str.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}(?:{_OFFSET})?").all():
        naive = kept.str.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}").all()
        zoned = kept.str.fullmatch(_ISO_TIME + _OFFSET).all()
        if not (naive or zoned) or not _reads(kept, "ISO8601"):
            return ()
        if zoned:
            zone, reason = _zone_of(kept)
            return (Guess(Datetime(**common, timezone=zone), f"{reason}{said}"),)
        if kept.str.fullmatch(r".{10}(?:[T ]00:00(?::00(?:\.0+)?)?)?").all():
            return (Guess(Date(**common), f"dates, written with the time 00:00{said}"),)
        return (Guess(Datetime(**common), f"dates with a time{said}"),)
    for date_pattern, date_formats in _DATE_FORMATS:
        for time_pattern, time_format in _TIME_FORMATS:
            pattern = date_pattern + time_pattern
            if (
                re.fullmatch(pattern, kept.iloc[0])
                and head.str.fullmatch(pattern).all()
                and kept.str.fullmatch(pattern).all()
            ):
                kind = Datetime if time_format else Date
                return tuple(
                    Guess(kind(**common, format=each), f"dates in the format {each}{said}")
                    for each in (f"{date_format}{time_format}" for date_format in date_formats)
                    if _reads(kept, each)
                )
    return ()


def _zone_of(texts: pd.Series) -> tuple[str, str]:
    """Return the zone of points in time that state their offset from UTC, and the reason."""
    stated = texts.str.extract(f"({_OFFSET})$")[0].str.strip().replace({"Z": "+00", "UTC": "+00", "GMT": "+00"})
    offsets = (stated.str.replace(":", "") + "00").str.slice(0, 5)
    different = sorted(offsets.str.replace("-0000", "+0000").unique())
    if different == ["+0000"]:
        return "UTC", "datetimes with an offset from UTC"
    if len(different) == 1:
        return f"{different[0][:3]}:{different[0][3:]}", f"datetimes with the offset {different[0]} from UTC"
    if len(different) == 2:
        times = pd.to_datetime(with_numeric_offset(texts), format="ISO8601", utc=True)
        minutes = pd.to_timedelta(offsets.str.replace(r"(..)$", r":\1:00", regex=True))
        for zone in _ZONES:
            ahead = times.dt.tz_convert(zone).dt.tz_localize(None) - times.dt.tz_localize(None)
            if ahead.eq(minutes).all():
                return zone, f"datetimes with the offsets of the zone {zone}, in summer and in winter"
    return "UTC", f"datetimes with {len(different)} offsets from UTC, which come back in UTC"


def by_other_dates(guesses: Mapping[str, Guess]) -> dict[str, Guess]:
    """Read dates in which day and month could be either as the other columns of such dates are read, if all agree."""
    formats = [guess.column.format for guess in guesses.values() if isinstance(guess.column, Date | Datetime)]
    first = {each[:2] for each in formats if each is not None and re.match("%[dm][/-]%[dm]", each)}
    if len(first) != 1:
        return dict(guesses)
    decided = {}
    for name, guess in guesses.items():
        fitting = [each for each in guess.readings if format_of(each)[:2] in first]
        decided[name] = Guess(fitting[0].column, f"{fitting[0].reason}, as in other columns") if fitting else guess
    return decided


def formats_of(text: str) -> list[tuple[str, str]]:
    """Return the formats that a text of a date may have, each with the type of its column."""
    if re.fullmatch(f"{_ISO_DATE}|{_ISO_TIME}(?:{_OFFSET})?", text):
        return [("date" if re.fullmatch(_ISO_DATE, text) else "datetime", "ISO8601")]
    return [
        ("datetime" if time_format else "date", f"{date_format}{time_format}")
        for date_pattern, date_formats in _DATE_FORMATS
        for time_pattern, time_format in _TIME_FORMATS
        if re.fullmatch(date_pattern + time_pattern, text)
        for date_format in date_formats
    ]


def format_of(guess: Guess) -> str:
    """Return the format of a column's texts."""
    return str(getattr(guess.column, "format", None))


def _reads(texts: pd.Series, format_: str) -> bool:
    texts = with_numeric_offset(texts)
    return bool(pd.to_datetime(texts, errors="coerce", format=format_, utc=True).notna().all())
