"""Our engine and be_great as it is, with the command line of a peer (see `peers/common.py`), and what only they can do.

`--method great` and `--method be_great` fit abalone's `defs.yaml` to the train rows and draw a sample. `--method speed`
times both engines on one and the same base: fit, and rows a second. `--method million` writes rows in chunks
and reports time and peak memory.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml

from synth_assets.orchestration.settings import SyntheticTableSettings
from synth_assets.schema.encoding import Encoding
from synth_assets.synthesizers.language_model.base_models import resolve_base, row_encoder_of
from synth_assets.synthesizers.model_store import ModelStore, sample_rows
from synth_assets.synthesizers.settings import ModelSpec

DEFS = Path(__file__).parents[1] / "synth_assets" / "defs" / "abalone" / "defs.yaml"

BE_GREAT = {"engine": "be_great", "epochs": 30, "batch_size": 16, "learning_rate": 0.001}
"""be_great as the README's baseline has it; the random weights of 'scratch' need more than its own learning rate."""

ROUNDS = 3
"""In which speeds are compared."""

BE_GREATS_SAMPLE = {"temperature": 0.7, "batch_size": 100}


def settings() -> SyntheticTableSettings:
    """Read abalone's `defs.yaml`."""
    return SyntheticTableSettings(**yaml.safe_load(DEFS.read_text())["attributes"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=["great", "be_great", "speed", "million"], required=True)
    parser.add_argument("--train", type=Path, required=True, help="CSV of labelled train rows")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV of the synthetic rows")
    parser.add_argument("--report", type=Path, required=True, help="JSON of what was measured")
    parser.add_argument("--categories", nargs="*", help="known from defs.yaml; taken for the peers' sake")
    asked = parser.parse_args()
    train = pd.read_csv(asked.train)
    with tempfile.TemporaryDirectory() as scratch:
        run = {"speed": _speed, "million": _million}.get(asked.method, _quality)
        found = run(asked, train, Path(scratch))
    asked.report.write_text(json.dumps(found, indent=2) + "\n")


def _fit(train: pd.DataFrame, spec: ModelSpec, folder: Path) -> tuple[ModelStore, str]:
    store = ModelStore(folder / "models")
    card = store.fit(train, spec, bases=folder / "bases", experiments=folder / "experiments", report=print)
    return store, card.version


def _quality(asked: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    table = settings()
    encoding = Encoding(table.table_schema())
    spec, sample = replace(table.model_spec(), seed=asked.seed), replace(table.sample_spec(), n_samples=asked.rows)
    rows = train
    if asked.method == "be_great":
        spec, sample = replace(spec, **BE_GREAT), replace(sample, **BE_GREATS_SAMPLE)
        rows = encoding.encode(encoding.unlabel(train))
    started = time.process_time()
    store, fitted = _fit(rows, spec, folder)
    after_fit = time.process_time()
    found, drawn = sample_rows(store, fitted, encoding, sample, seed=asked.seed, report=print)
    done = time.process_time()
    encoding.schema.coerce(found, origin="sample").rename(
        columns={encoding.schema.target: encoding.schema.target_renamed}
    ).to_csv(asked.out, index=False)
    return {
        "fit_cpu_s": round(after_fit - started, 3),
        "sample_cpu_s": round(done - after_fit, 3),
        "rows_drawn": drawn,
        "library": "be-great" if asked.method == "be_great" else "synth-assets",
        "version": version("be-great" if asked.method == "be_great" else "synth-assets"),
    }


def _speed(asked: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    """Time the fit and the sample of both engines on the base of ours: the same weights, tokenizer and sentences.

    Each takes as many epochs, and then writes rows by its own `sample`. They take turns, for other work on the machine
    comes and goes. What is reported are medians, of the ratios too.
    """
    from synth_assets.synthesizers import be_great as reference
    from synth_assets.synthesizers.language_model.engine import GReaT
    from synth_assets.synthesizers.language_model.training import threads_for

    epochs = int(BE_GREAT["epochs"])
    spec = replace(settings().model_spec(), seed=asked.seed)
    row_encoder = row_encoder_of(spec, train)
    base, _ = resolve_base(spec, train, folder / "bases")
    plan = replace(spec.training, teacher_rows=0, patience=epochs)
    learned = len(train) - round(plan.validation * len(train))
    rounds = []
    for number in range(ROUNDS):
        ours = GReaT(base, experiment_dir=str(folder / f"ours {number}"), epochs=epochs, batch_size=spec.batch_size)
        our_epoch = _cpu_s(partial(ours.fit, train, row_encoder=row_encoder, training=plan, seed=asked.seed)) / epochs
        our_sample = asked.rows / _cpu_s(partial(ours.sample, asked.rows, seed=asked.seed))

        theirs = reference.make_great(
            base,
            experiment_dir=str(folder / f"theirs {number}"),
            epochs=epochs,
            batch_size=BE_GREAT["batch_size"],
            learning_rate=BE_GREAT["learning_rate"],
            logging_steps=1000,
            save_strategy="no",
            seed=asked.seed,
        )
        fit = partial(reference.fit, theirs, row_encoder.to_text(train), seed=asked.seed, report=print)
        their_epoch = _cpu_s(fit) / epochs
        room = min(100, theirs.model.config.max_position_embeddings)
        with threads_for(theirs.model):
            their_sample = asked.rows // 5 / _cpu_s(partial(theirs.sample, asked.rows // 5, max_length=room))
        rounds.append(
            {
                "our_epoch_cpu_s": our_epoch,
                "be_great_epoch_cpu_s": their_epoch,
                "epoch_ratio": their_epoch / our_epoch,
                "our_fit_rows_per_cpu_s": learned / our_epoch,
                "be_great_fit_rows_per_cpu_s": len(train) / their_epoch,
                "fit_ratio": learned / our_epoch / (len(train) / their_epoch),
                "our_sample_rows_per_cpu_s": our_sample,
                "be_great_sample_rows_per_cpu_s": their_sample,
                "sample_ratio": our_sample / their_sample,
            }
        )
    return dict(pd.DataFrame(rounds).median())


def _cpu_s(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _million(asked: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    """Write rows to a CSV in chunks with a model that has seen no row: time and memory do not ask for quality."""
    spec = replace(settings().model_spec(), seed=asked.seed, epochs=1)
    spec = replace(spec, training=replace(spec.training, teacher_rows=0))
    store, fitted = _fit(train, spec, folder)
    great = store.load(fitted)
    started = time.process_time()
    rows = 0
    with (folder / "rows.csv").open("w") as file:
        for chunk in great.sample_chunks(asked.rows, seed=asked.seed):
            chunk.to_csv(file, index=False, header=not rows)
            rows += len(chunk)
    return {
        "rows": rows,
        "sample_cpu_s": time.process_time() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
