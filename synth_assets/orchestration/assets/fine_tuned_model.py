"""`fine_tuned_model`: a language model fitted on the train rows; the table holds the card of the current one."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets.common import (
    LANGUAGE_MODEL_POOL,
    Table,
    column,
    picture,
    row_count,
)
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.schema.split import TRAIN, select
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.model_store import ModelCard, ModelStore

NAME = "fine_tuned_model"

_COLUMNS = [
    column("model_version", "varchar", "The hash of what the model was made from."),
    column("engine", "varchar", "What trains and samples."),
    column("base", "varchar", "The base model, as a fingerprint."),
    column("parameters", "bigint", "How many weights."),
    column("train_rows", "bigint", "How many rows it learned from."),
    column(
        "final_loss",
        "double",
        "The last reported training loss, in nats: a row's (great), a token's (be_great).",
        nullable=True,
    ),
    column("fitted_at", "varchar", "When it was fitted, in ISO 8601."),
    column("card", "varchar", "The whole model card, as JSON."),
]


def build(table: Table, settings: SynthesizerSettings, *, seed: int, checkpoints_dir: str) -> list[dg.AssetsDefinition]:
    """Build the asset.

    Parameters
    ----------
    table : Table
        The table.
    settings : SynthesizerSettings
        The settings of the synthesizer.
    seed : int
        The seed of the model.
    checkpoints_dir : str
        The folder for checkpoints, relative to the data folder.

    Returns
    -------
    list
        The asset.
    """

    @dg.asset(
        **table.asset(
            NAME,
            code_version="6",
            kinds={"python", "pytorch", "huggingface"},
            columns=_COLUMNS,
            ins={
                "raw": dg.AssetIn(table.key(raw_asset.NAME)),
                "encoded_split": dg.AssetIn(table.key(encoded_split_asset.NAME)),
            },
            pool=LANGUAGE_MODEL_POOL,
            description=(
                f"A `{settings.type}` synthesizer, fitted to the train rows. The same inputs give the same model, "
                "which is then taken from the store. A fit of a language model that was killed resumes from its last "
                "checkpoint."
            ),
        )
    )
    def fine_tuned_model(
        context: dg.AssetExecutionContext,
        paths: dg.ResourceParam[DataPaths],
        warehouse: dg.ResourceParam[Warehouse],
        raw: pd.DataFrame,
        encoded_split: pd.DataFrame,
    ) -> dg.MaterializeResult[pd.DataFrame]:
        store = ModelStore(paths.models(table.name))
        train = select(raw, encoded_split, TRAIN)
        with as_dagster_failure():
            card = store.fit(
                train,
                table.schema,
                settings,
                seed=seed,
                base_models_dir=paths.bases,
                checkpoints_dir=paths.experiments(checkpoints_dir),
                log=context.log.info,
            )
            frame = _as_row(card)
            curve = _curve(card, paths.plots(table.name, card.version), raw_asset.source_label(warehouse, table.name))
        return dg.MaterializeResult(
            value=frame,
            data_version=dg.DataVersion(card.version),
            metadata={
                **row_count(frame),
                "model_version": card.version,
                "base": card.inputs.get("base", "none"),
                "parameters": card.parameters,
                "train_rows": card.rows,
                "final_loss": card.final_loss,
                "fit_seconds": card.seconds,
                "resumed_from_step": card.resumed_from_step,
                "fitted_at": card.fitted_at,
                "model_path": dg.MetadataValue.path(store.path(card.version)),
                **curve,
                "inputs": card.inputs,
            },
        )

    return [fine_tuned_model]


def current_version(fine_tuned_model: pd.DataFrame) -> str:
    """Give the version of the current model, of the table that this asset wrote."""
    return str(fine_tuned_model["model_version"].iloc[0])


def _as_row(card: ModelCard) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "model_version": card.version,
                "engine": card.synthesizer,
                "base": card.inputs.get("base", "none"),
                "parameters": card.parameters,
                "train_rows": card.rows,
                "final_loss": card.final_loss,
                "fitted_at": card.fitted_at,
                "card": card.model_dump_json(),
            }
        ]
    ).astype({"final_loss": "float64"})


def _curve(card: ModelCard, folder: Path, source: str) -> dict[str, Any]:
    if not card.losses:
        return {}
    from synth_assets.evaluation.figures import loss_curve

    figure = loss_curve(card.losses, title=f"training loss of model {card.version}", source=source)
    return picture(figure, folder / "loss_curve.png")
