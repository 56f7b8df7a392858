"""What a person should decide, or mend in the source: each a sentence."""

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from synth_assets.schema.columns import Categorical, Column, Id, Integer, Text, with_numeric_offset
from synth_assets.schema.infer.guess import Guess
from synth_assets.schema.infer.texts import DIGITS, MAX_NAMES, MIN_RUN, MISSING_TEXTS, SAMPLE, ZERO_LED, counted, quoted
from synth_assets.schema.infer.times import format_of, formats_of, times_as_text
from synth_assets.schema.table import PRIVATE_LABEL_ROWS

NEARLY_ALL = 0.9
"""Share of the different texts of a column that are numbers, for the other ones to be named."""

_TOTALS = {
    *("total", "totals", "grand total", "sum", "subtotal", "average", "summe", "gesamt", "gesamtsumme", "insgesamt"),
    *("somme", "totale", "suma", "итого", "всего", "合计", "总计", "合計", "총계"),
}
"""What the last row begins with, in lower case, if it is the total of the others."""

_SIGNS = r"[$€£¥%]|(?<=[0-9]),(?=[0-9]{3})|\s|^\((?=[^()]*\)$)|(?<=[0-9])[)-]$"
_UNIT = r"(?<=[0-9])\s?([A-Za-zµ°/]+[²³]?)$"
_CLOCK = r"(?:-?[0-9]+ days?,? )?-?[0-9]{1,3}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?(?: ?[AaPp][Mm])?"


def find_notices(frame: pd.DataFrame, guesses: Mapping[str, Guess], target: str | None) -> tuple[str, ...]:
    """Return what a person should decide or mend in the source, each as a sentence: of the table, then of columns."""
    header = _repeated_header(frame)
    if header is None and _has_values_as_names(frame, guesses):
        header = _no_header(frame)
    of_table = [header, _undivided(frame), _total_row(frame, guesses)]
    of_columns = [*map(_undecided, guesses.values()), *_numbers_of_rows(frame, guesses)]
    of_columns += [_nearly_numbers(guess.column, frame[name]) for name, guess in guesses.items()]
    if target is not None and target in guesses:
        of_columns.append(_two_numbers(guesses[target].column, frame[target]))
    return tuple(notice for notice in (*of_table, *of_columns) if notice is not None)


def _numbers_of_rows(frame: pd.DataFrame, guesses: Mapping[str, Guess]) -> Iterator[str]:
    """Yield a sentence on each column that numbers the rows of each key, such as the lines of an order."""
    columns = [guess.column for guess in guesses.values()]
    for key in (each.name for each in columns if isinstance(each, Id) and each.repeats):
        for name in (each.name for each in columns if isinstance(each, Integer) and not each.nullable):
            numbers = pd.to_numeric(frame[name], errors="coerce").groupby(frame[key].to_numpy())
            found = numbers.agg(["min", "max", "nunique", "size"])
            is_counted = (found["nunique"] == found["size"]) & (found["max"] - found["min"] + 1 == found["size"])
            if is_counted.all() and found["min"].nunique() == 1:
                yield (
                    f"{name!r} numbers the rows of each {key!r}. Synthetic rows are drawn independently of each other: "
                    "in a key, a number may be missing or occur twice. Number them again where that matters."
                )


def _undecided(guess: Guess) -> str | None:
    """Return a sentence on a column that could be of another type; None if it could not."""
    if not guess.readings and not guess.instead:
        return None
    if guess.instead and isinstance(guess.column, Text):
        return (
            f"{guess.column.name!r} is taken for text, because each of its labels is in fewer than "
            f"{PRIVATE_LABEL_ROWS} rows, and a private table shows none of these. If the rows are not "
            f"confidential, state private: false or pass `--public`; else state type: {guess.instead} and "
            "min_label_rows for the column to be learned."
        )
    if guess.instead:
        return (
            f"{guess.column.name!r} is taken for a key that repeats: synthetic rows have new keys, which are repeated "
            f"as often and depend on no other column. State type: {guess.instead} for it to have its values learned."
        )
    formats = " or ".join(repr(format_of(each)) for each in guess.readings)
    return (
        f"{guess.column.name!r} is read as {guess.column.type}, and could be dates with the day or the month first: "
        f"state type: {guess.readings[0].column.type} and format: {formats} for the column to have it read so."
    )


def _two_numbers(column: Column, values: pd.Series) -> str | None:
    """Return a sentence on a target of whole numbers that has two values; else None."""
    unique = sorted(pd.to_numeric(values, errors="coerce").dropna().unique())
    if not isinstance(column, Integer) or len(unique) != 2:
        return None
    return (
        f"{column.name!r}, the target, is read as integer and has two values, {unique[0]:.0f} and {unique[1]:.0f}: "
        "regressors predict it. State type: categorical for it to be predicted by classifiers."
    )


def _nearly_numbers(column: Column, values: pd.Series) -> str | None:
    """Return a sentence on labels or text that are numbers or times, but for signs or a few texts; else None."""
    if not isinstance(column, Categorical | Text):
        return None
    unique = pd.Series(values.dropna().astype("str").str.strip().unique(), dtype="str")
    unique = unique[~unique.str.lower().isin(MISSING_TEXTS)]
    is_number = pd.to_numeric(unique, errors="coerce").notna()
    others = unique[~is_number]
    if unique[is_number].str.fullmatch(ZERO_LED).any() or len(unique) < MIN_RUN:
        return None
    if 0 < len(others) <= MAX_NAMES and is_number.mean() >= NEARLY_ALL:
        return (
            f"{column.name!r} is read as {column.type}, and holds numbers but for {quoted(list(others))}: correct the "
            f"source, or state type: float and missing_values: [{quoted(list(others))}] for the column."
        )
    if not len(others):
        return None
    bare = others.str.replace(_SIGNS, "", regex=True)
    units = others.str.extract(_UNIT, expand=False)
    if units.notna().all() and units.nunique() == 1 and len(others) == len(unique):
        bare = bare.str.replace(_UNIT, "", regex=True)
    if pd.to_numeric(bare, errors="coerce").notna().all():
        return (
            f"{column.name!r} is read as {column.type}, and holds numbers with signs, such as {others.iloc[0]!r}: "
            "remove the signs in the source to have it learned as numbers."
        )
    if isinstance(column, Text) and unique.str.fullmatch(_CLOCK).all():
        return (
            f"{column.name!r} is read as text, and holds times of day or durations, such as {unique.iloc[0]!r}: "
            "convert them to a number of minutes or seconds in the source to have them learned as numbers."
        )
    return _nearly_dates(column, unique)


def _nearly_dates(column: Column, unique: pd.Series) -> str | None:
    """Return a sentence on labels or text that are dates but for a few texts, or in several formats; else None."""
    shapes = unique.str.replace(r"[0-9]+", "0", regex=True)
    usual = unique[shapes == shapes.mode()[0]]
    found = {}
    for kind, format_ in formats_of(usual.iloc[0]):
        is_other = pd.to_datetime(with_numeric_offset(unique), errors="coerce", format=format_, utc=True).isna()
        if 0 < is_other.sum() <= MAX_NAMES and is_other.mean() <= 1 - NEARLY_ALL:
            found[format_] = (kind, quoted(list(unique[is_other])))
    if found:
        kind, others = next(iter(found.values()))
        formats = " or ".join(repr(each) for each in found if each != "ISO8601")
        return (
            f"{column.name!r} is read as {column.type}, and holds dates but for {others}: correct the source, or state "
            f"type: {kind}{f', format: {formats}' if formats else ''} and missing_values: [{others}] for the column."
        )
    groups = [texts for _, texts in unique.groupby(shapes)]
    common = {"name": column.name, "missing_values": ()}
    if 1 < len(groups) <= MAX_NAMES and all(times_as_text(texts, common) for texts in groups):
        return (
            f"{column.name!r} is read as {column.type}, and holds dates in several formats, such as "
            f"{quoted([texts.iloc[0] for texts in groups])}: write them in one format in the source."
        )
    return None


def _total_row(frame: pd.DataFrame, guesses: Mapping[str, Guess]) -> str | None:
    """Return a sentence on a last row that is the total of the others, by its first word or its numbers; else None."""
    last = frame.iloc[-1].dropna()
    first = str(last.iloc[0]).strip() if len(last) else ""
    is_total = first.casefold().rstrip(":") in _TOTALS and (frame[last.index[0]].astype("str") == first).sum() == 1
    summed = [name for name, guess in guesses.items() if guess.column.type in ("integer", "float")]
    if not is_total and not (len(frame) > MIN_RUN and any(_ends_with_sum(frame[name]) for name in summed)):
        return None
    found = f"begins with {first!r}" if is_total else "is the sum of the rows above"
    return (
        f"The last row {found} and may hold totals: it would be learned as a row like the others. Remove it from the "
        "source if it does."
    )


def _repeated_header(frame: pd.DataFrame) -> str | None:
    """Return a sentence on rows that repeat the names of the columns above numbers; None if there are none."""
    if not all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes):
        return None
    is_header = np.ones(len(frame), bool)
    for name in frame.columns:
        is_header &= (frame[name] == name).fillna(False).to_numpy(bool)
        if not is_header.any():
            return None
    is_number = {name: pd.to_numeric(frame[name], errors="coerce").notna() for name in frame.columns}
    if not any((numbers ^ is_header).all() for numbers in is_number.values()):
        return None
    count, row = int(is_header.sum()), int(is_header.argmax()) + 1
    return (
        f"{counted(count, 'row')} {'repeats' if count == 1 else 'repeat'} the names of the columns, such as data row "
        f"{row}: they would be learned as values. Remove them from the source, and run `synth-assets init` again."
    )


def _undivided(frame: pd.DataFrame) -> str | None:
    """Return a sentence on a single column of text that seems to be several, between other delimiters; else None."""
    if len(frame.columns) > 1 or not isinstance(frame.dtypes.iloc[0], pd.StringDtype):
        return None
    name, cells = str(frame.columns[0]).strip(), frame.iloc[:SAMPLE, 0].dropna().str.strip()
    for delimiter in (" ", ":", "^", "~"):
        parts = cells.str.split(r"\s+" if delimiter == " " else delimiter, regex=delimiter == " ", expand=True)
        names = re.split(r"\s+", name) if delimiter == " " else name.split(delimiter)
        if len(names) == parts.shape[1] > 1 and parts.notna().all(axis=None):
            is_number = [pd.to_numeric(parts[i], errors="coerce").notna().all() for i in parts]
            if any(is_number) and not re.search(r"\d{4}-\d\d", str(cells.iloc[0])):
                first = "separate them by one space, and " if "  " in cells.iloc[0] else ""
                return (
                    f"The source has one column, {name!r}, whose cells seem to be {len(names)}: {first}state "
                    f"`dialect: {{ delimiter: {delimiter!r} }}` under `source` in defs.yaml, and run "
                    f"`synth-assets init` on it, or pass `--dialect 'delimiter={delimiter}'`."
                )
    return None


def _ends_with_sum(values: pd.Series) -> bool:
    if isinstance(values.dtype, pd.StringDtype) and not re.search("[1-9]", str(values.iloc[-1])):
        return False
    numbers = pd.to_numeric(values.dropna(), errors="coerce").to_numpy("float64", na_value=np.nan)
    rest, last = numbers[:-1], float(numbers[-1]) if len(numbers) else 0.0
    is_greatest = len(rest) >= MIN_RUN and abs(last) > np.abs(rest).max()
    return is_greatest and bool(np.isclose(rest.sum(), last, rtol=1e-9, atol=0.0))


def _has_values_as_names(frame: pd.DataFrame, guesses: Mapping[str, Guess]) -> bool:
    """Return whether the names of a frame of text are like its values: a first row that is no header.

    Names that are consecutive whole numbers are names: positions, or years.
    """
    if not all(isinstance(dtype, pd.StringDtype) for dtype in frame.dtypes):
        return False
    columns = [guess.column for guess in guesses.values()]
    typed = [column for column in columns if column.is_numeric or column.type in ("boolean", "id")]
    typed = [column for column in typed if not (isinstance(column, Id) and column.pattern != "integer")]
    filled = [column for column in typed if not frame[column.name].isna().all()]
    if not filled:
        return all(column.name in set(frame[column.name]) for column in columns)
    whole = [int(column.name) for column in filled if re.fullmatch(DIGITS, column.name)]
    if len(whole) == len(filled) > 1 and (np.diff(whole) == 1).all():
        return False
    return all(bool(column.is_readable(pd.Series([column.name], dtype="str")).all()) for column in filled)


def _no_header(frame: pd.DataFrame) -> str:
    names = quoted([str(name) for name in frame.columns[:MAX_NAMES]]) + (", ..." if frame.shape[1] > MAX_NAMES else "")
    return (
        f"The source may have no header: the names of the columns, {names}, look like values. If so, write names above "
        "the first row, or state `dialect: { header: false }` under `source` in defs.yaml and run `synth-assets init` "
        "on it, or pass `--dialect header=false`: the columns are then named column_1, column_2, ..."
    )
