"""The command line `synth-assets`: what was published, read from the published file."""

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import duckdb
import pandas as pd

from synth_assets.data_paths import DataPaths


@click.group()
def main() -> None:
    """Look at synthetic tables that were published."""


@main.command()
def status() -> None:
    """Print the main numbers of each table's latest sample, and where the files are."""
    paths = DataPaths.from_environment()
    if not paths.published.exists():
        raise click.ClickException(f"nothing is published in {paths.published} yet; `make demo` does it.")
    with closing(duckdb.connect(str(paths.published), read_only=True)) as connection:
        tables = [
            row[0]
            for row in connection.execute(
                "SELECT schema_name FROM duckdb_views() WHERE view_name = 'synthetic_latest' ORDER BY ALL"
            ).fetchall()
        ]
        for table in tables:
            click.echo(_summary(connection, table, paths))
    click.echo(f"published: {_short(paths.published)}")
    click.echo(
        f"query it, in Python: duckdb.connect({str(_short(paths.published))!r}, read_only=True)"
        f".sql('FROM {tables[0]}.synthetic_latest')"
    )


def _summary(connection: duckdb.DuckDBPyConnection, table: str, paths: DataPaths) -> str:
    schema = '"' + table.replace('"', '""') + '"'
    latest = connection.execute(
        f"SELECT max(resample_date), any_value(model_version), count(*) FROM {schema}.synthetic_latest"
    ).fetchone()
    assert latest is not None  # noqa: S101 - an aggregate gives one row
    day, model, rows = latest
    fidelity = connection.execute(
        "SELECT coalesce(column_name, 'whole table') AS \"column\", metric, value, floor AS real_rows "
        f"FROM {schema}.fidelity WHERE resample_date = $1 ORDER BY rowid",
        [day],
    ).df()
    scores = connection.execute(
        f"SELECT regressor, trained_on, metric, value, ci_low, ci_high FROM {schema}.regression_comparison "
        "WHERE resample_date = $1 ORDER BY rowid",
        [day],
    ).df()
    source = _details(connection, schema, "raw").get("source", "unknown")
    verdict = _details(connection, schema, "regression_comparison").get("verdict", "no verdict")
    plots = paths.plots(table, f"{day:%Y-%m-%d}")
    parts = [
        f"{table}: {rows:,} synthetic rows of {day:%Y-%m-%d}, model {model}, real rows: {source}",
        "",
        "Fidelity against held-out rows (1 is best), beside what real rows score:",
        _text(fidelity),
        "",
        "Regressions scored on held-out rows, with 95% intervals:",
        _text(scores[scores["metric"] == "r2"]),
        "",
        verdict,
        "",
        *(f"plot: {_short(path)}" for path in sorted(plots.glob("*.png"))),
    ]
    return "\n".join(parts)


def _details(connection: duckdb.DuckDBPyConnection, schema: str, asset: str) -> dict[str, Any]:
    row = connection.execute(
        f"SELECT details FROM {schema}.provenance WHERE asset = $1 ORDER BY materialized_at DESC LIMIT 1", [asset]
    ).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _text(frame: pd.DataFrame) -> str:
    return str(frame.to_string(index=False, float_format="{:.3f}".format))


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


if __name__ == "__main__":
    main()
