"""Values that may not be shown: labels that few train rows have, and real keys."""

from collections.abc import Iterator

import pandas as pd

from synth_assets.evaluation.metrics.base import CATEGORICAL, KEY, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import Samples
from synth_assets.schema.table import OTHER

NONE_HIDDEN = "the schema hides no labels"


def _rare_labels(samples: Samples) -> Iterator[ResultRow | NotComputed]:
    if samples.schema.label_threshold <= 1:
        yield NotComputed("rare_labels", None, NONE_HIDDEN)
    for name, counts in samples.label_rows.items():
        rare = counts.index[counts < samples.schema.label_threshold]
        if samples.schema.rare_labels == "other":
            rare = rare[rare != OTHER]
        yield result_row("rare_labels", name, float(samples.synthetic[name].isin(rare).mean()), reference_of([]))


def _key_copies(samples: Samples) -> Iterator[ResultRow]:
    for name in samples.schema.names_of("id"):
        real = pd.concat([samples.typed[part][name] for part in ("train", "holdout")])
        made = samples.typed["synthetic"][name]
        copied = made.astype("str").isin(set(real.dropna().astype("str"))) & made.notna()
        yield result_row("key_copies", name, float(copied.mean()), reference_of([]))


METRICS = (
    Metric(
        "rare_labels",
        "Labels that too few train rows have",
        *SHARE,
        CATEGORICAL,
        "Share of the synthetic cells with a label that some train rows have, but fewer than the schema's "
        "`min_label_rows` (5 for a private table). Such a label may identify a person.",
        "A count; minimum frequency rule of statistical disclosure control: Hundepool et al., Statistical Disclosure "
        "Control, 2012, section 4.2",
        _rare_labels,
        tolerance=0.0,
    ),
    Metric(
        "key_copies",
        "Keys of real rows",
        *SHARE,
        KEY,
        "Share of the synthetic keys that a train or a holdout row has.",
        "A count",
        _key_copies,
        tolerance=0.0,
    ),
)
