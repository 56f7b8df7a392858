"""The section of `docs/results.md` that `make bench-tables` writes, between its markers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import yaml
from bench_report import markdown
from runs import Run

from synth_assets.errors import ForeseenError
from synth_assets.storage.files import atomic_write

REFERENCE = "real rows"
OURS = "language_model"

BEGIN, END = "<!-- bench-tables: begin -->", "<!-- bench-tables: end -->"
"""What stands between these lines is replaced."""

GROUPS = {
    "How well rows are told from real ones": (
        "detection AUC (boosting)", "detection AUC (forest)", "XGBoost detection, holdout", "XGBoost detection, train",
        "10-tree detection, train",
    ),
    "How alike distributions are, and what can be learned": (
        "shape error", "trend error", "alpha-precision", "beta-recall", "column prediction gap", "MLE AUC", "MLE R2",
        "TSTR AUC (boosting)", "TSTR R2 (boosting)", "impossible rows",
    ),
    "Copies of train rows, and cost": (
        "membership AUC", "DCR share", "partial copies", "exact copies", "fit CPU s", "rows per CPU s", "peak memory",
        "model size",
    ),
}  # fmt: skip
"""The tables of each data set, by their titles, with the measures that are their columns."""

RANKED = ("detection AUC (boosting)", "XGBoost detection, holdout")
"""The measures by which it is said who is ahead."""

PUBLISHED = {
    "detection": ("XGBoost detection, train", ".3f"),
    "shape": ("shape error, %", ".2f"),
    "trend": ("trend error, %", ".2f"),
    "mle": ("MLE", ".3f"),
    "fit": ("fit, s", ",.0f"),
}
"""By key of `published.yaml`, the heading of a column and the format of its values."""

INTRODUCTION = """\
## The field's tables

Written by `make bench-tables` (`benchmarks/tables.yaml` names the tables; TABLES=folder has their files). Each method
fits the train rows and samples as many; adult has its own test part, abalone the split of its `defs.yaml`, and of the
other tables another tenth of the rows is held out with each seed. Column types are inferred. Cells are means over the
seeds (least to greatest). *Real rows* are the same measures of real rows: train rows where a measure is against holdout
rows, holdout rows where it is against train rows.

Methods run on one core with their own settings, each in an environment and a process of its own, within limits:
{limits}. One that failed or reached a limit is a row that says so, in the first of a data set's tables. Peers get
labels as text, a missing label as a label, and, if they take no missing number, the median with a column that says
where; their numbers are snapped to the grid of the train rows.
"""

REWARDS = """\
### What each measure rewards

- *Detection AUC (boosting, forest)* are ours: five-fold cross-validation against holdout rows, at most 10,000 of a set.
  A copy of the train rows scores 0.5. They reward the joint distribution of all columns, down to single values (the
  forest) or bins (boosting).
- *XGBoost detection* has TabPC's definition (default settings, three folds). Against train rows, as the field reports
  it, rows close to theirs score 0.5 whatever else is wrong (SMOTE and CART on abalone, which score 0.58 against holdout
  rows); against holdout rows nothing is gained by closeness. *10-tree detection* is what ORIGAMI's authors report: ten
  trees of depth 3 see little, and their figures cannot be compared with figures of the default learner.
- *Shape error* and *trend error* (SDMetrics, as TabSyn and TabDiff report them) see one and two columns. On adult,
  independent columns have a shape error of 0.4%, a trend error of 7.5% and a logistic-detection score of 1.000, the
  best there is (TabPC's tables), and XGBoost tells them apart with 0.992: these three cannot rank models.
- *Alpha-precision* (Alaa et al. 2022) rewards rows that are typical, *beta-recall* rows that lie close to real ones:
  copies of train rows score 100%, other real rows some 50%. More than real rows have is no merit.
- *MLE* (XGBoost with TabSyn's grid) and *TSTR* (our estimators) reward what predicts one target; *column prediction
  gap* is the mean loss over all columns, predicted one from the others.
- *DCR share* is a check of copies, no measure of privacy (arXiv 2505.01524). *Membership AUC* is one attack.
"""


def write_section(page: Path, found: pd.DataFrame, ended: Sequence[Run], origins: Mapping[str, str]) -> None:
    """Write the section into a page, in place of the one between the markers.

    Parameters
    ----------
    page : pathlib.Path
        A Markdown file with the two markers.
    found : pandas.DataFrame
        One row for each result: `table`, `method`, `seed`, `measure`, `value`.
    ended : sequence of Run
        What became of all runs.
    origins : mapping of str to str
        Origin and size of each table, in words.

    Raises
    ------
    ForeseenError
        If the page lacks the markers.
    """
    replace_between(page, BEGIN, END, section(found, ended, origins))


def replace_between(page: Path, begin: str, end: str, section: str) -> None:
    """Replace what stands between two lines of a page; a `ForeseenError` if it lacks them."""
    text = page.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ForeseenError(
            f"{page} has no place for the section; expected a line {begin} and, below it, {end}. Add them."
        )
    before, after = text[: text.index(begin)], text[text.index(end) :]
    atomic_write(page, f"{before}{begin}\n{section}\n{after}".encode())


def section(found: pd.DataFrame, ended: Sequence[Run], origins: Mapping[str, str]) -> str:
    """Return the section as Markdown."""
    limits = sorted({str(run.limits) for run in ended}, reverse=True)
    parts = [INTRODUCTION.format(limits=" or ".join(limits) or "none")]
    for name, origin in origins.items():
        rows = found[found["table"] == name]
        unfinished = reasons([run for run in ended if run.table == name])
        parts.append(f"### {name}\n\n{origin[0].upper()}{origin[1:]}.\n")
        parts.append(f"{verdict(rows)}\n")
        for title, measures in GROUPS.items():
            table = markdown(rows, reference=REFERENCE, measures=measures, unfinished=unfinished)
            parts.append(f"**{title}**\n\n{table}\n")
            unfinished = {}  # said once
    return "\n".join([*parts, *published(origins), REWARDS])


def reasons(ended: Sequence[Run]) -> dict[str, str]:
    """Say by method why runs of a table did not finish: 'seeds 0, 1: more than 30 CPU minutes'."""
    by_method: dict[str, dict[str, list[int]]] = {}
    for run in ended:
        if not run.finished:
            said = run.reason if "limit" in run.status else f"failed: {run.reason}"
            by_method.setdefault(run.method, {}).setdefault(said, []).append(run.seed)
    return {
        method: "; ".join(
            f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, sorted(seeds)))}: {reason}"
            for reason, seeds in by_reason.items()
        )
        for method, by_reason in by_method.items()
    }


def verdict(found: pd.DataFrame) -> str:
    """Say of each ranked measure whether our model is ahead of every peer that finished, by means over the seeds."""
    said = []
    for measure in RANKED:
        means = found[found["measure"] == measure].groupby("method")["value"].mean().drop(REFERENCE, errors="ignore")
        peers = means.drop(OURS, errors="ignore").sort_values()
        if OURS not in means or peers.empty:
            continue
        better = peers[peers <= means[OURS]]
        compared = f"{measure} {means[OURS]:.3f}"
        said.append(
            f"{compared}: behind {', '.join(f'{name} ({value:.3f})' for name, value in better.items())}."
            if len(better)
            else f"{compared}: ahead of every peer that finished; the next is {peers.index[0]} ({peers.iloc[0]:.3f})."
        )
    return f"{OURS}: {' '.join(said)}" if said else f"{OURS} was not compared with a peer that finished."


def published(tables: Sequence[str] | Mapping[str, str]) -> list[str]:
    """Return what others published of these tables, with the sources; nothing if there is nothing."""
    stated = yaml.safe_load((Path(__file__).resolve().parent / "published.yaml").read_text())
    lines = [["table", "method", *(heading for heading, _ in PUBLISHED.values()), "source"]]
    lines.append(["---", "---", *["---:"] * len(PUBLISHED), "---"])
    numbers = {name: i for i, name in enumerate(stated["sources"], start=1)}
    rows = [row for row in stated["rows"] if row["table"] in tables]
    if not rows:
        return []
    for row in rows:
        cells = [format(row[key], form) if key in row else "-" for key, (_, form) in PUBLISHED.items()]
        lines.append([row["table"], row["method"], *cells, f"[{numbers[row['source']]}]"])
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    sources = "\n".join(f"- [{numbers[name]}] {text}" for name, text in stated["sources"].items())
    return [
        "### Published figures\n\nNot measured here: other splits, other column types, other machines.\n\n"
        f"{table}\n\n{sources}\n"
        "- MLE is the area under the ROC curve of XGBoost; for beijing the RMSE of a transformed target.\n"
    ]
