"""Membership inference attacks: which rows were train rows, inferred from synthetic rows or from the model.

Three attackers: one who sees a sample, one who sees every sample that a model has drawn, and one who holds the model.

Passing is no proof of privacy. A better attack may succeed, and so may an attacker with shadow models. More samples of
the same model reveal more: neither another seed nor the deletion of old samples protects from who has kept them. What
protects is to publish fewer rows of a model in all, to fit each model to rows that no other has seen, or training with
differential privacy, which alone comes with a proof.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synth_assets.evaluation.metrics.base import ANY, AREA, SHARE, Metric, NotComputed, ResultRow, result_row
from synth_assets.evaluation.metrics.copies import PAIRS_AT_ONCE, agreeing_cells, nearest, random_orders
from synth_assets.evaluation.metrics.membership import MAXIMUM, Attack, Success, Successes, successes
from synth_assets.evaluation.reference import reference_of
from synth_assets.evaluation.samples import MIN_ROWS, Samples, cached, to_features
from synth_assets.execution.threads import one_thread
from synth_assets.schema.table import TableSchema

SUSPECT_QUANTILE = 0.999
"""An attack suspects a train row that it scores above this share of the holdout rows."""

MIN_ATTACKS = 2
"""Attacks that have to suspect a train row before it counts as leaked."""

LEAKED_ROW = "leaked_row"

OUTLIER_SHARE, OUTLIER_NEIGHBOURS = 0.05, 5
"""Share of the real rows that count as outliers, and the neighbours by whose mean distance they are chosen."""

LOCAL_ROWS = 3
"""Synthetic rows closest to a real row whose likelihood the attack Gen-LRA compares. Of 1, 3, 10, 30 and 200, fewer
find more: on a part of the train rows of abalone, 1 had the greatest AUC against SMOTE (0.776; 3: 0.757; 200: 0.638)
and 3 against CART (0.572; 1: 0.565; 200: 0.540)."""

MOST_DRAWN, MOST_TARGETS = 90_000, 2_000
"""Rows of all samples of a model, and real rows of a set beside outliers, that are attacked with all samples; of more,
as many are drawn. 90,000 are 30 days of 3,000 rows."""

MOST_EDIT_PAIRS = 25_000_000
"""Pairs of rows whose edit distance is computed; of more synthetic rows, as many are drawn."""

MOST_CHARACTERS = 128
"""Characters of a row as text whose edit distances are computed; cells beyond are left out."""

_BLOCK = 64
"""Characters of a text up to which edit distances take one machine word; of longer ones, twenty times as long."""

_FIRST_LABEL = 0xA1
"""Character of the first label in this text; none of a number has it."""

_DIGITS = 9
"""Digits of decimal numbers in the text whose edit distances are computed."""

_MOST_NUMBERS = 20_000_000
"""Features of all rows together that are kept at once."""

OUTLIERS = "outliers"
EVERY_SAMPLE = "all samples of the model"
EVERY_SAMPLE_OUTLIERS = "all samples of the model, outliers"
CALIBRATED = "calibrated"
CALIBRATED_OUTLIERS = "calibrated, outliers"


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What attackers know beside the sample.

    Parameters
    ----------
    earlier : pandas.DataFrame, optional
        Rows that the same model has drawn before, in the columns and dtypes of the synthetic rows.
    log_likelihood : callable, optional
        Returns the log-likelihood of real rows under the model, as `Synthesizer.log_likelihood` does.
    """

    earlier: pd.DataFrame | None = None
    log_likelihood: Callable[[pd.DataFrame], np.ndarray] | None = None


ONE_SAMPLE = Knowledge()


@cached
def attacks(samples: Samples) -> list[Attack]:
    """Run five membership inference attacks on at most 5,000 rows a set; the attacker knows the subsample.

    By distance to the closest synthetic row (GAN-Leaks); by the same distance minus the distance to the closest
    reference row (DCR difference); by density ratio (DOMIAS; Gaussian kernels with Scott's bandwidth); by the influence
    of the row on the likelihood of the closest synthetic rows under a density of the reference rows (Gen-LRA); by the
    least edit distance to a synthetic row as text (LevAtt). Reference rows are holdout rows: each half for the other
    half and for half of the train rows.
    """
    samples = samples.neighbours
    targets = np.arange(len(samples.train)), np.arange(len(samples.holdout))
    return _attacks(samples, samples.subsample, targets)


@cached
def _attacks_on_every_sample(
    samples: Samples, knowledge: Knowledge
) -> tuple[list[Attack], tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None:
    """Run the same attacks with all samples of the model.

    Returns
    -------
    attacks : list of Attack
        On some of the real rows.
    drawn, outliers : tuple of numpy.ndarray
        Which of these rows are a random draw, and which are outliers: masks for train and holdout rows.
    None
        If there is no row beside those that `attacks` uses.
    """
    few, rows = samples.neighbours, samples.synthetic
    if knowledge.earlier is not None and len(knowledge.earlier):
        rows = pd.concat([samples.schema.comparable(knowledge.earlier), rows], ignore_index=True)
    if len(rows) <= len(few.subsample):
        return None
    rng = np.random.default_rng(samples.seed)
    most = max(MIN_ROWS, min(MOST_DRAWN, _MOST_NUMBERS // max(1, few.features["train"].shape[1])))
    if len(rows) > most:
        rows = rows.iloc[np.sort(rng.choice(len(rows), most, replace=False))].reset_index(drop=True)
    is_drawn = tuple(rng.permutation(len(part)) < MOST_TARGETS for part in (few.train, few.holdout))
    is_outlier = _outliers(samples)
    targets = tuple(np.flatnonzero(a | b) for a, b in zip(is_drawn, is_outlier, strict=True))
    found = _attacks(few, rows, targets)  # type: ignore[arg-type]
    drawn, outliers = (
        tuple(mask[at] for mask, at in zip(masks, targets, strict=True)) for masks in (is_drawn, is_outlier)
    )
    return found, drawn, outliers  # type: ignore[return-value]


@cached
def _outliers(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return which train and holdout rows are outliers: the 5% of all with the fewest rows near them.

    They are ordered by the mean distance to the five closest other real rows (Meeus, Guepin, Cretu and de Montjoye,
    Achilles' Heels: Vulnerable Record Identification in Synthetic Data Publishing, ESORICS 2023).
    """
    few = samples.neighbours
    real = np.concatenate([few.features["train"], few.features["holdout"]])
    distances = nearest(real, real, min(OUTLIER_NEIGHBOURS + 1, len(real)))[0][:, 1:].mean(axis=1)
    count = max(1, round(OUTLIER_SHARE * len(real)))
    is_outlier = np.zeros(len(real), dtype=bool)
    is_outlier[np.argsort(-distances, kind="stable")[:count]] = True
    return is_outlier[: len(few.train)], is_outlier[len(few.train) :]


def leaked_rows(samples: Samples) -> pd.DataFrame:
    """Return the train rows that at least two attacks suspect.

    Returns
    -------
    pandas.DataFrame
        `row` (position among all train rows), `attacks` (their metrics), `agreeing_cells` (with the most similar
        synthetic row); rows with the most agreeing cells first. None of a table without labels and numbers.
    """
    if not samples.schema.compared:
        return pd.DataFrame({"row": np.zeros(0, np.int64), "attacks": "", "agreeing_cells": np.zeros(0, np.int64)})
    samples = samples.neighbours
    found = attacks(samples)
    suspected = _suspected(np.array([a.train for a in found]), np.array([a.holdout for a in found]))
    rows = np.flatnonzero(suspected.sum(axis=0) >= MIN_ATTACKS)
    names = [", ".join(a.metric for a, yes in zip(found, suspected[:, row], strict=True) if yes) for row in rows]
    agreeing = (
        agreeing_cells(samples.train.iloc[rows], samples.subsample, samples.schema)
        if len(rows)
        else np.zeros(0, np.int64)
    )
    leaks = pd.DataFrame(
        {"row": samples.train_positions[rows], "attacks": pd.Series(names, dtype="str"), "agreeing_cells": agreeing}
    )
    return leaks.sort_values("agreeing_cells", ascending=False, kind="stable", ignore_index=True)


@cached
def _measured(samples: Samples, knowledge: Knowledge) -> dict[str | None, dict[str, Successes]]:
    """Measure the attacks by who is attacked with what: all rows or outliers, with this sample or every sample."""
    found: dict[str | None, dict[str, Successes]] = {None: successes(attacks(samples), seed=samples.seed)}
    _measure_some(found, OUTLIERS, attacks(samples), _outliers(samples), samples.seed)
    if (more := _attacks_on_every_sample(samples, knowledge)) is not None:
        with_all, drawn, outliers = more
        _measure_some(found, EVERY_SAMPLE, with_all, drawn, samples.seed)
        _measure_some(found, EVERY_SAMPLE_OUTLIERS, with_all, outliers, samples.seed)
    return found


@cached
def _measured_with_model(samples: Samples, knowledge: Knowledge) -> dict[str | None, dict[str, Successes]]:
    plain = _likelihoods(samples, knowledge)
    if plain is None:
        return {}
    calibrated, outliers = _calibrated(samples, plain), _outliers(samples)
    found: dict[str | None, dict[str, Successes]] = {None: successes([plain], seed=samples.seed)}
    _measure_some(found, OUTLIERS, [plain], outliers, samples.seed)
    found[CALIBRATED] = successes([calibrated], seed=samples.seed)
    _measure_some(found, CALIBRATED_OUTLIERS, [calibrated], outliers, samples.seed)
    return found


def _measure_some(
    found: dict[str | None, dict[str, Successes]],
    name: str,
    on_all: Sequence[Attack],
    some: tuple[np.ndarray, np.ndarray],
    seed: int,
) -> None:
    if all(mask.any() for mask in some):
        train, holdout = some
        on_some = [Attack(each.metric, each.train[train], each.holdout[holdout]) for each in on_all]
        found[name] = successes(on_some, seed=seed)


def _likelihoods(samples: Samples, knowledge: Knowledge) -> Attack | None:
    """Return the attack by the log-likelihood of a row under the model."""
    if knowledge.log_likelihood is None:
        return None
    few = samples.neighbours
    return Attack("likelihood_auc", *(knowledge.log_likelihood(few.typed[name]) for name in ("train", "holdout")))


def _calibrated(samples: Samples, plain: Attack) -> Attack:
    """Return the attack by how much more likely a row is than rows like it that the model was not fitted to.

    The likelihood that such a row would have is predicted from its features by gradient boosting, which is fitted to
    half of the holdout rows and predicts the other half and half of the train rows (Bertran et al., Scalable Membership
    Inference Attacks via Quantile Regression, NeurIPS 2023, with the mean instead of a quantile).
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    few = samples.neighbours
    features = few.features["train"], few.features["holdout"]
    scores = plain.train.copy(), plain.holdout.copy()
    halves = _halves(samples)
    for half in (0, 1):
        known = (halves[1] != half) & np.isfinite(plain.holdout)
        if not known.any():
            continue
        with one_thread("openmp"):
            expected = HistGradientBoostingRegressor(random_state=samples.seed)
            expected.fit(features[1][known], plain.holdout[known])
            for points, score, side in zip(features, scores, halves, strict=True):
                if (side == half).any():
                    score[side == half] -= expected.predict(points[side == half])
    return Attack("calibrated_likelihood", *scores)


def _attack_auc(metric: str) -> Callable[..., Iterator[ResultRow]]:
    def compute(samples: Samples, knowledge: Knowledge = ONE_SAMPLE) -> Iterator[ResultRow]:
        yield _row(metric, None, _measured(samples, knowledge)[None][metric].auc)

    return compute


def _auc_with_every_sample(samples: Samples, knowledge: Knowledge = ONE_SAMPLE) -> Iterator[ResultRow | NotComputed]:
    measured = _measured(samples, knowledge)
    if EVERY_SAMPLE not in measured:
        yield NotComputed("every_sample_auc", None, "the model has drawn no other row that is known")
        return
    for attack in attacks(samples):
        title = next(metric.title for metric in METRICS if metric.name == attack.metric)
        yield _row("every_sample_auc", title, measured[EVERY_SAMPLE][attack.metric].auc)


def _best_attack(metric: str, measure: str, *, of_outliers: bool = False) -> Callable[..., Iterator[ResultRow]]:
    def compute(samples: Samples, knowledge: Knowledge = ONE_SAMPLE) -> Iterator[ResultRow]:
        measured = _measured(samples, knowledge)
        scopes = (
            {None: OUTLIERS, EVERY_SAMPLE: EVERY_SAMPLE_OUTLIERS}
            if of_outliers
            else {None: None, EVERY_SAMPLE: EVERY_SAMPLE}
        )
        for name, scope in scopes.items():
            if scope in measured:
                yield _row(metric, name, getattr(measured[scope][MAXIMUM], measure))

    return compute


def _with_model(metric: str, measure: str) -> Callable[..., Iterator[ResultRow | NotComputed]]:
    def compute(samples: Samples, knowledge: Knowledge = ONE_SAMPLE) -> Iterator[ResultRow | NotComputed]:
        measured = _measured_with_model(samples, knowledge)
        if not measured:
            yield NotComputed(metric, None, "no model is at hand that computes the likelihood of a row")
        for name, found in measured.items():
            yield _row(metric, name, getattr(found[MAXIMUM], measure))

    return compute


def _row(metric: str, name: str | None, success: Success) -> ResultRow:
    return result_row(metric, name, success.value, success.reference, success.interval)


def _leaked_share(samples: Samples) -> Iterator[ResultRow]:
    samples = samples.neighbours
    scores, n = np.array([[*attack.train, *attack.holdout] for attack in attacks(samples)]), len(samples.train)

    def share(of: np.ndarray) -> float:
        return float((_suspected(of[:, :n], of[:, n:]).sum(axis=0) >= MIN_ATTACKS).mean())

    orders = random_orders(samples, np.random.default_rng(samples.seed))
    yield result_row("leaked_rows", None, share(scores), reference_of([share(scores[:, order]) for order in orders]))


def _leaked_row(samples: Samples, row_ids: Sequence[int] | np.ndarray | None = None) -> Iterator[ResultRow]:
    for leak in leaked_rows(samples).itertuples():
        row_id = leak.row if row_ids is None else row_ids[leak.row]
        agreement = leak.agreeing_cells / len(samples.compared.columns)
        yield result_row(LEAKED_ROW, f"row_id {row_id}", agreement, reference_of([]))


def _suspected(train: np.ndarray, holdout: np.ndarray) -> np.ndarray:
    """Return which of n train rows each attack suspects, from attacks by n and attacks by m scores."""
    threshold = np.quantile(holdout, SUSPECT_QUANTILE, axis=1, method="higher")
    found: np.ndarray = train > threshold[:, np.newaxis]
    return found


def _attacks(samples: Samples, synthetic: pd.DataFrame, targets: tuple[np.ndarray, np.ndarray]) -> list[Attack]:
    """Attack some train and holdout rows with synthetic rows, which may be more than those of the samples."""
    sets = samples.features["train"], samples.features["holdout"]
    drawn = to_features(synthetic, samples.train, samples.schema)
    holdout, halves = sets[1], _halves(samples)
    n = len(targets[0])
    points = np.concatenate([part[at] for part, at in zip(sets, targets, strict=True)])
    side = np.concatenate([half[at] for half, at in zip(halves, targets, strict=True)])
    distances, positions = nearest(points, drawn, min(LOCAL_ROWS, len(drawn)))
    whitened, white_points, white_holdout = _whitened(drawn, points, holdout)
    local = np.unique(positions)  # rows that are close to a target
    ratios = _log_density(whitened, white_points)
    to_reference, influences = np.empty(len(points)), np.empty(len(points))
    for half in (0, 1):
        own, others = side == half, halves[1] != half
        reference = white_holdout[others]
        to_reference[own] = nearest(points[own], holdout[others], 1)[0][:, 0]
        ratios[own] -= _log_density(reference, white_points[own])
        influences[own] = _influences(reference, whitened, white_points[own], positions[own], local)
    edits = _edit_distances(samples, synthetic, targets)
    scores = {
        "membership_auc": -distances[:, 0],
        "dcr_difference_auc": to_reference - distances[:, 0],
        "domias_auc": ratios,
        "gen_lra_auc": influences,
        "levenshtein_auc": -edits,
    }
    return [Attack(metric, each[:n], each[n:]) for metric, each in scores.items()]


@cached
def _halves(samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return the half, 0 or 1, of each train and holdout row; the reference of a half is the other half's."""
    few = samples.neighbours
    rng = np.random.default_rng(samples.seed)
    train, holdout = (rng.permutation(len(part)) % 2 for part in (few.train, few.holdout))
    return train, holdout


def _whitened(synthetic: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Whiten points with the synthetic rows, so that correlated columns count once.

    Directions of rounding errors alone are dropped.
    """
    centre = synthetic.mean(axis=0)
    variances, directions = np.linalg.eigh(np.atleast_2d(np.cov((synthetic - centre).T, bias=True)))
    spread = np.sqrt(variances.clip(min=0))
    kept = spread > 1e-6 * max(spread.max(), 1e-300)
    whiten = directions[:, kept] / spread[kept] if kept.any() else directions[:, :1]
    return [(part - centre) @ whiten for part in (synthetic, *others)]


def _log_density(sample: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the log of the sum of Gaussian kernels with Scott's bandwidth (1992, section 6.3), up to a constant."""
    n, d = sample.shape
    return _log_kernels(sample, points, n ** (-1 / (d + 4)))


def _log_kernels(sample: np.ndarray, points: np.ndarray, bandwidth: float) -> np.ndarray:
    """Return the log of the sum of the Gaussian kernels of a sample, in single precision."""
    centre = sample.mean(axis=0)
    scaled, others = (np.ascontiguousarray((part - centre) / bandwidth, dtype="float32") for part in (points, sample))
    squares = [(part**2).sum(axis=1) / 2 for part in (scaled, others)]
    found = np.empty(len(points))
    at_once = max(1, PAIRS_AT_ONCE // len(sample))
    for start in range(0, len(points), at_once):
        block = slice(start, start + at_once)
        exponents = scaled[block] @ others.T
        exponents -= squares[1]
        greatest = exponents.max(axis=1)
        exponents -= greatest[:, np.newaxis]
        np.exp(exponents, out=exponents)
        found[block] = np.log(exponents.sum(axis=1, dtype="float64")) + greatest - squares[0][block]
    return found


def _influences(
    reference: np.ndarray, synthetic: np.ndarray, points: np.ndarray, positions: np.ndarray, local: np.ndarray
) -> np.ndarray:
    """Return by how much a point in the reference raises the log-likelihood of the synthetic rows closest to it.

    The density of n reference rows and a point x is (n p(s) + K(s - x)) / (n + 1), with p the density of the reference
    rows and K the kernel, whose bandwidth (Silverman's) a single point hardly changes: nothing is fitted again.
    """
    n, d = reference.shape
    bandwidth = (n * (d + 2) / 4) ** (-1 / (d + 4))
    density = np.empty(len(synthetic))
    density[local] = _log_kernels(reference, synthetic[local], bandwidth)
    found = np.zeros(len(points))
    for k in range(positions.shape[1]):
        closest = positions[:, k]
        kernel = -((points - synthetic[closest]) ** 2).sum(axis=1) / (2 * bandwidth**2)
        found += np.logaddexp(0.0, kernel - density[closest]) + np.log(n / (n + 1))
    return found


def _edit_distances(samples: Samples, synthetic: pd.DataFrame, targets: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return the least edit distance of each target to a synthetic row as text."""
    from rapidfuzz.distance import Levenshtein
    from rapidfuzz.process import cdist

    rows = [part.iloc[at] for part, at in zip((samples.train, samples.holdout), targets, strict=True)]
    n = sum(map(len, rows))
    blocks = _as_text(pd.concat([*rows, synthetic], ignore_index=True), samples.schema)
    most = max(1, MOST_EDIT_PAIRS // (n * len(blocks)))
    kept = np.arange(len(synthetic))
    if len(kept) > most:
        kept = np.random.default_rng(samples.seed).choice(kept, most, replace=False)
    others = [[block[n + i] for i in kept] for block in blocks]
    least = np.empty(n)
    at_once = max(1, PAIRS_AT_ONCE // len(kept))
    for start in range(0, n, at_once):
        end = min(start + at_once, n)
        distances = np.zeros((end - start, len(kept)), np.uint16)
        for block, other in zip(blocks, others, strict=True):
            distances += cdist(block[start:end], other, scorer=Levenshtein.distance, dtype=np.uint16)
        least[start:end] = distances.min(axis=1)
    return least


def _as_text(rows: pd.DataFrame, schema: TableSchema) -> list[list[str]]:
    """Return rows as text: numbers as their digits, a label as one character, so that it counts as one edit.

    The cells are in blocks of at most 64 characters, as far as there are `MOST_CHARACTERS`.
    """
    blocks: list[list[list[str]]] = []
    width = total = 0
    for column in schema.select(schema.compared).columns:
        values = rows[column.name]
        if column.is_numeric:
            form = "{:.0f}" if column.type in ("integer", "date") else f"{{:.{_DIGITS}g}}"
            present = values.notna().tolist()
            cells = [form.format(value) if there else "" for value, there in zip(values, present, strict=True)]
        else:
            codes, _ = pd.factorize(values)
            cells = [chr(_FIRST_LABEL + code) if code >= 0 else "" for code in codes]
        longest = max(map(len, cells)) + 1
        total += longest
        if blocks and total > MOST_CHARACTERS:
            break
        if not blocks or width + longest > _BLOCK:
            blocks.append([])
            width = 0
        blocks[-1].append(cells)
        width += longest
    return [[" ".join(row) for row in zip(*block, strict=True)] for block in blocks]


_CARLINI = "Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022, section 4"
_MEASURES = {
    "auc": ("AUC", AREA, "Greatest area under the ROC curve of these attacks", (0.02, 0.05)),
    "tpr_1": (
        "share found at 1% false positives",
        SHARE,
        "Greatest share of the train rows that one of these attacks scores above all but 1% of the holdout rows",
        (0.01, 0.1),
    ),
    "tpr_01": (
        "share found at 0.1% false positives",
        SHARE,
        "Greatest share of the train rows that one of these attacks scores above all but 0.1% of the holdout rows, "
        "above all of them where they are fewer than 1,000",
        (0.005, 0.1),
    ),
}
"""By measure: its name, range, description, and the tolerances for all rows and for outliers."""


def _best(name: str, measure: str, *, of_outliers: bool = False) -> Metric:
    title, goal, description, tolerances = _MEASURES[measure]
    which = (
        " Of outliers alone: the 5% of the real rows with the greatest mean distance to their five closest others."
        if of_outliers
        else ""
    )
    citation = (
        "Meeus et al., Achilles' Heels: Vulnerable Record Identification in Synthetic Data Publishing, ESORICS 2023"
    )
    return Metric(
        name,
        f"Best attack{' on outliers' if of_outliers else ''}: {title}",
        *goal,
        ANY,
        f"{description}, with this sample, and with all samples of the model.{which} The reference is the greatest "
        "where train and holdout rows are exchanged at random.",
        citation if of_outliers else _CARLINI,
        _best_attack(name, measure, of_outliers=of_outliers),
        tolerance=tolerances[of_outliers],
        heading="Samples",
    )


def _attack(name: str, title: str, score: str, citation: str) -> Metric:
    return Metric(
        name,
        title,
        *AREA,
        ANY,
        f"Area under the ROC curve of a membership inference attack that scores a real row by {score}; 0.5 is chance. "
        "Other attacks may succeed where this one fails.",
        citation,
        _attack_auc(name),
        # Right for 2 in 100 pairs of a train row and another more than by chance. A language model fitted to 2,000 rows
        # of abalone for 116 epochs, with the last weights, exceeds chance by 0.041; as shipped, by 0.027.
        tolerance=0.02,
    )


METRICS = (
    _attack(
        "membership_auc",
        "Attack by distance to the closest synthetic row",
        "its distance to the closest synthetic row",
        "Chen, Yu, Zhang and Fritz, GAN-Leaks, CCS 2020, the full black-box attack",
    ),
    _attack(
        "dcr_difference_auc",
        "Attack by DCR difference",
        "its distance to the closest holdout row of the attacker, minus its distance to the closest synthetic row",
        "Chen, Yu, Zhang and Fritz, GAN-Leaks, CCS 2020, section 5.4, calibration; DCR-Diff in Ward, Lin, Wang and "
        "Cheng, Synth-MIA, 2025, arXiv:2509.18014",
    ),
    _attack(
        "domias_auc",
        "Attack by density ratio (DOMIAS)",
        "the density of synthetic rows divided by the density of holdout rows",
        "van Breugel, Sun, Qian and van der Schaar, Membership Inference Attacks against Synthetic Data through "
        "Overfitting Detection, AISTATS 2023: DOMIAS",
    ),
    _attack(
        "gen_lra_auc",
        "Attack by local likelihood ratio (Gen-LRA)",
        f"how much it raises the likelihood of the {LOCAL_ROWS} closest synthetic rows when it is added to the holdout "
        "rows of a density estimate",
        "Ward, Wang and Cheng, Privacy Auditing Synthetic Data Release through Local Likelihood Attacks, 2025, "
        "arXiv:2508.21146: Gen-LRA",
    ),
    _attack(
        "levenshtein_auc",
        "Attack by edit distance (LevAtt)",
        f"its edit distance, as text, to the closest synthetic row: language models may repeat strings of digits. A "
        f"label counts as one character, and {MOST_CHARACTERS} characters of a row are compared",
        "Ward et al., When Tables Leak: Attacking String Memorization in LLM-Based Tabular Data Generation, 2025, "
        "arXiv:2512.08875: LevAtt",
    ),
    Metric(
        "every_sample_auc",
        "Attacks with every sample of the model",
        *AREA,
        ANY,
        "Area under the ROC curve of each of these attacks where the attacker has all rows that the model has drawn up "
        f"to this sample, at most {MOST_DRAWN:,} of them; {MOST_TARGETS:,} real rows of a set are attacked.",
        "The five attacks above",
        _auc_with_every_sample,
        tolerance=0.02,
        heading="Attack",
    ),
    _best("attack_auc", "auc"),
    # Certain of one more row in a hundred than by chance.
    _best("attack_tpr_1", "tpr_1"),
    _best("attack_tpr_01", "tpr_01"),
    # With few dozen rows, the best of several attacks may find a tenth of them by chance.
    _best("outlier_auc", "auc", of_outliers=True),
    _best("outlier_tpr_1", "tpr_1", of_outliers=True),
    _best("outlier_tpr_01", "tpr_01", of_outliers=True),
    Metric(
        "likelihood_auc",
        "Attack with the model: AUC",
        *AREA,
        ANY,
        "Area under the ROC curve of an attack that scores a real row by its log-likelihood under the model: as it is, "
        "and calibrated, minus the log-likelihood that gradient boosting expects of a row with such values, fitted to "
        "half of the holdout rows. No gate: the model is not published.",
        "Yeom, Giacomelli, Fredrikson and Jha, Privacy Risk in Machine Learning, CSF 2018, section 3.1; calibrated as "
        "Bertran et al., Scalable Membership Inference Attacks via Quantile Regression, NeurIPS 2023",
        _with_model("likelihood_auc", "auc"),
        heading="Score and rows",
    ),
    Metric(
        "likelihood_tpr_1",
        "Attack with the model: share found at 1% false positives",
        *SHARE,
        ANY,
        "Share of the train rows that this attack scores above all but 1% of the holdout rows.",
        _CARLINI,
        _with_model("likelihood_tpr_1", "tpr_1"),
        heading="Score and rows",
    ),
    Metric(
        "likelihood_tpr_01",
        "Attack with the model: share found at 0.1% false positives",
        *SHARE,
        ANY,
        "Share of the train rows that this attack scores above all but 0.1% of the holdout rows.",
        _CARLINI,
        _with_model("likelihood_tpr_01", "tpr_01"),
        heading="Score and rows",
    ),
    Metric(
        "leaked_rows",
        "Train rows that at least two attacks suspect",
        *SHARE,
        ANY,
        "Share of the train rows that at least two of the five attacks score above 999 in 1,000 holdout rows. The "
        "reference is the share where train and holdout rows are exchanged at random.",
        "The five attacks above; the rule is specific to this report",
        _leaked_share,
        # Three train rows of 3,000. Means over all rows, as above, do not show a few rows that are known for certain.
        tolerance=0.001,
    ),
    Metric(
        LEAKED_ROW,
        "A train row that at least two attacks suspect",
        *SHARE,
        ANY,
        "One of these rows, by its row_id: share of its cells that agree with the most similar synthetic row.",
        "As above",
        _leaked_row,
        heading="Train row",
    ),
)

BY_KNOWLEDGE = tuple(metric.name for metric in METRICS if metric.name not in ("leaked_rows", LEAKED_ROW))
"""Metrics that depend on what attackers know beside the sample."""

WITH_MODEL = tuple(name for name in BY_KNOWLEDGE if name.startswith("likelihood_"))
"""Metrics of who holds the model."""
