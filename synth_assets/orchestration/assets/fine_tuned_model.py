"""`fine_tuned_model`: the synthesizer, fitted to the train rows; the table holds the card of the current model."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from synth_assets.execution import LOCAL, Execution
from synth_assets.orchestration.assets import encoded_split as encoded_split_asset
from synth_assets.orchestration.assets import raw as raw_asset
from synth_assets.orchestration.assets.common import (
    LANGUAGE_MODEL_POOL,
    Table,
    column,
    picture,
    result,
)
from synth_assets.orchestration.failures import as_dagster_failure
from synth_assets.publishing.shared import share_model
from synth_assets.schema.split import TRAIN, select
from synth_assets.storage.objects import ObjectStore
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse
from synth_assets.synthesizers.base import SynthesizerSettings
from synth_assets.synthesizers.model_store import ModelCard, ModelStore

NAME = "fine_tuned_model"

_COLUMNS = [
    column("model_version", "varchar", "Hash of the model's inputs: rows, schema, settings and seed."),
    column("engine", "varchar", "Synthesizer: language_model, be_great, forest or smote."),
    column("base", "varchar", "Fingerprint of the base model, for a language model."),
    column("parameters", "bigint", "Number of parameters."),
    column("train_rows", "bigint", "Number of train rows."),
    column(
        "final_loss",
        "double",
        "Last training loss in nats: per row (language_model) or per token (be_great).",
        nullable=True,
    ),
    column("fitted_at", "varchar", "Time of the fit, in ISO 8601."),
    column("card", "varchar", "Model card as JSON."),
]


def build(
    table: Table,
    settings: SynthesizerSettings,
    *,
    seed: int,
    checkpoints_dir: str,
    execution: Execution = LOCAL,
) -> list[dg.AssetsDefinition]:
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
    execution : Execution
        Where the model is fitted.

    Returns
    -------
    list
        The asset.
    """

    @table.asset(
        NAME,
        code_version="6",
        kinds={"python", "pytorch", "huggingface"},
        columns=_COLUMNS,
        inputs=(raw_asset.NAME, encoded_split_asset.NAME),
        pool=LANGUAGE_MODEL_POOL,
        description=(
            f"A `{settings.type}` synthesizer, fitted to the train rows. The same inputs give the same model, which is "
            "then taken from the model store. An interrupted fit of a language model resumes from its last checkpoint."
        ),
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
                base_models_dir=paths.base_models,
                checkpoints_dir=paths.checkpoints(checkpoints_dir),
                execution=execution,
                log=context.log.info,
            )
            if paths.storage:
                share_model(ObjectStore(paths.storage), table.name, store.path(card.version))
            frame = _as_row(card)
            curve = _curve(card, paths.plots(table.name, card.version), raw_asset.source_label(warehouse, table.name))
        return result(
            frame,
            data_version=card.version,
            model_version=card.version,
            base=card.inputs.get("base", "none"),
            parameters=card.parameters,
            train_rows=card.rows,
            final_loss=None if card.final_loss is None else round(card.final_loss, 4),
            fit_seconds=card.seconds,
            resumed_from_step=card.resumed_from_step,
            fitted_at=card.fitted_at,
            model_path=dg.MetadataValue.path(store.path(card.version)),
            **curve,
            inputs=card.inputs,
        )

    return [fine_tuned_model]


def current_version(fine_tuned_model: pd.DataFrame) -> str:
    """Return the version of the current model from the table of this asset."""
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
                # An evaluation measures the attacks later; the model is the same.
                "card": card.model_dump_json(exclude={"attacks"}),
            }
        ]
    ).astype({"final_loss": "float64"})


def _curve(card: ModelCard, folder: Path, source: str) -> dict[str, Any]:
    if not card.losses:
        return {}
    from synth_assets.evaluation.figures import loss_curve

    figure = loss_curve(card.losses, title=f"training loss of model {card.version}", source=source)
    return picture(figure, folder / "loss_curve.png")
