"""The package's synthesizers, with the command line of a peer (see `peers/common.py`), and a comparison of speeds.

`--method language_model`, `be_great`, `forest` or `smote` fits a table's train rows and draws a sample.
`--method speed` times the language model and be_great on the same base: an epoch, and sampled rows a second.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pandas as pd

from synth_assets.schema.table import TableSchema
from synth_assets.synthesizers import SYNTHESIZERS, create, load
from synth_assets.synthesizers.be_great import BeGreat, BeGreatSettings
from synth_assets.synthesizers.language_model.settings import LanguageModelSettings
from synth_assets.synthesizers.language_model.synthesizer import LanguageModel

BE_GREAT = BeGreatSettings(epochs=30, batch_size=16, learning_rate=0.001)
"""be_great on the 'scratch' base: random weights need a higher learning rate than its own default."""

TEMPERATURES = {"be_great": 0.7}
"""be_great's own sampling temperature; the others sample at 1."""

ROUNDS = 3
"""Repetitions of the comparison of speeds."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=[*SYNTHESIZERS, "speed", "million"], required=True)
    parser.add_argument("--train", type=Path, required=True, help="CSV of the train rows")
    parser.add_argument("--schema", type=Path, required=True, help="the table's schema, as JSON")
    parser.add_argument("--settings", type=Path, required=True, help="settings of the synthesizer, as JSON")
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV of the synthetic rows")
    parser.add_argument("--report", type=Path, required=True, help="JSON of what was measured")
    arguments = parser.parse_args()
    arguments.schema = TableSchema.model_validate_json(arguments.schema.read_text())
    arguments.settings = json.loads(arguments.settings.read_text())
    train = read_rows(arguments.train, arguments.schema)
    measure = {"speed": measure_speed, "million": measure_million}.get(arguments.method, measure_quality)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(arguments, train, Path(folder))
    arguments.report.write_text(json.dumps(found, indent=2) + "\n")


def read_rows(path: Path, schema: TableSchema) -> pd.DataFrame:
    """Read rows that a benchmark or a peer wrote: an empty cell is missing, any other text is a value."""
    text = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""])
    return schema.coerce(text, origin=path.name)


def measure_quality(arguments: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    """Fit, save, load and sample; loading counts as sampling, as in `synth-assets sample`."""
    settings = SYNTHESIZERS[arguments.method].Settings.model_validate(arguments.settings)
    started = time.process_time()
    create(settings).fit(train, arguments.schema, seed=arguments.seed, log=print).save(folder / "model")
    after_fit = time.process_time()
    fitted = load(folder / "model")
    rows = fitted.sample(
        arguments.rows, seed=arguments.seed, temperature=TEMPERATURES.get(arguments.method, 1.0), log=print
    )
    done = time.process_time()
    rows.to_csv(arguments.out, index=False)
    library = "be-great" if arguments.method == BeGreat.name else "synth-assets"
    return {
        "fit_cpu_s": round(after_fit - started, 3),
        "sample_cpu_s": round(done - after_fit, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "model_mb": round(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20, 3),
        "library": library,
        "version": version(library),
    }


def measure_speed(arguments: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    """Time an epoch and sampling of the language model and be_great, with the same base and number of epochs.

    They alternate, since the load of the machine varies; medians over the rounds are reported, of the ratios too.
    """
    del folder
    epochs = BE_GREAT.epochs
    stated = LanguageModelSettings.model_validate(arguments.settings)
    settings_without_pretraining = stated.model_copy(
        update={"epochs": epochs, "patience": epochs, "pretrain": stated.pretrain.model_copy(update={"rows": 0})}
    )
    n_trained = len(train) - round(settings_without_pretraining.validation_fraction * len(train))
    rounds = []
    for _ in range(ROUNDS):
        language_model, be_great = LanguageModel(settings_without_pretraining), BeGreat(BE_GREAT)
        epoch_cpu_s = cpu_seconds(partial(language_model.fit, train, arguments.schema, seed=arguments.seed)) / epochs
        rate = arguments.rows / cpu_seconds(partial(language_model.sample, arguments.rows, seed=arguments.seed))
        be_great_epoch_cpu_s = cpu_seconds(partial(be_great.fit, train, arguments.schema, seed=arguments.seed)) / epochs
        n_rows = arguments.rows // 5
        be_great_rate = n_rows / cpu_seconds(
            partial(be_great.sample, n_rows, seed=arguments.seed, temperature=TEMPERATURES["be_great"])
        )
        rounds.append(
            {
                "language_model_epoch_cpu_s": epoch_cpu_s,
                "be_great_epoch_cpu_s": be_great_epoch_cpu_s,
                "epoch_ratio": be_great_epoch_cpu_s / epoch_cpu_s,
                "fit_ratio": n_trained / epoch_cpu_s / (len(train) / be_great_epoch_cpu_s),
                "language_model_sample_rows_per_cpu_s": rate,
                "be_great_sample_rows_per_cpu_s": be_great_rate,
                "sample_ratio": rate / be_great_rate,
            }
        )
    return dict(pd.DataFrame(rounds).median())


def measure_million(arguments: argparse.Namespace, train: pd.DataFrame, folder: Path) -> dict[str, object]:
    """Write rows to a CSV file batch by batch with a model after one epoch: quality changes neither time nor memory."""
    stated = LanguageModelSettings.model_validate(arguments.settings)
    quick = stated.model_copy(update={"epochs": 1, "pretrain": stated.pretrain.model_copy(update={"rows": 0})})
    fitted = LanguageModel(quick).fit(train, arguments.schema, seed=arguments.seed)
    started, n_rows = time.process_time(), 0
    with (folder / "rows.csv").open("w") as file:
        for batch in fitted.sample_batches(arguments.rows, seed=arguments.seed):
            batch.to_csv(file, index=False, header=not n_rows)
            n_rows += len(batch)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rows": n_rows, "sample_cpu_s": time.process_time() - started, "peak_mb": peak_mb}


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU seconds that a call takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
