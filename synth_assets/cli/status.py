"""Commands that tell how it stands: `status` and `report`."""

import json
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth_assets.cli import output
from synth_assets.cli.options import as_json_option, table_argument, the_table
from synth_assets.publishing import client
from synth_assets.publishing.publications import Publication, Publications
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import quoted

if TYPE_CHECKING:
    import duckdb


@click.command()
@as_json_option
@click.pass_obj
def status(paths: DataPaths, as_json: bool) -> None:
    """Tell how fresh each table is, what its gates found, its main numbers, and where things are."""
    publication = Publications(paths).current()
    found = {
        "publication": publication.id,
        "published_at": publication.manifest["published_at"],
        "tables": [_state(paths, publication, table) for table in publication.manifest["tables"]],
        "paths": {
            "published": str(paths.published),
            "parquet": {
                table: str(paths.published.parent / Path(next(iter(days.values()))["parquet"]).parents[1])
                for table in publication.manifest["tables"]
                if (days := publication.days(table))
            },
            "warehouse": str(paths.warehouse),
            "publications": str(Publications(paths).folder),
        },
    }
    if as_json:
        click.echo(output.as_json(found, indent=1))
        return
    for table in found["tables"]:
        _print(table)
    click.echo(f"publication {publication.id}, of {found['published_at'][:19]} UTC")
    click.echo(f"published: {_short(paths.published)}")
    for table, folder in found["paths"]["parquet"].items():
        click.echo(f"{table} as Parquet: {_short(Path(folder))}")
    first = found["tables"][0]["table"]
    click.echo(f'query it: synth-assets query "from {first}.synthetic_latest limit 5"')
    click.echo(f"in Python: synth_assets.read_table({first!r})")


@click.command()
@table_argument(required=False)
@click.option("--date", "day", help="The day of a sample; otherwise the newest that is published.")
@click.option("--open", "show", is_flag=True, help="Open it in a browser.")
@as_json_option
@click.pass_obj
def report(paths: DataPaths, table: str | None, day: str | None, show: bool, as_json: bool) -> None:
    """Tell the path of the HTML report of a sample."""
    table = the_table(paths, table)
    publication = Publications(paths).current()
    newest = client.newest_day(publication, table)
    if day is not None and day not in publication.days(table):
        raise client.ReadError(f"no sample of {table} of {day!r} is published; the newest is of {newest}.")
    page = paths.report(table, day or newest)
    if not page.exists():
        raise client.ReadError(
            f"there is no report in {page}; materialize {table}/report of that day to have it written."
        )
    click.echo(output.as_json({"table": table, "day": day or newest, "report": str(page)}) if as_json else str(page))
    if show:
        click.launch(page.as_uri())


COMMANDS = (status, report)


def _state(paths: DataPaths, publication: Publication, table: str) -> dict[str, Any]:
    days = publication.days(table)
    if not days:
        return {"table": table, "newest": None, "samples": 0}
    newest = max(days)
    page = paths.report(table, newest)
    with client.connect(paths.root) as connection:
        numbers = _rows(
            connection,
            f"SELECT metric, value, reference AS real_rows FROM {quoted(table, 'fidelity')} "
            "WHERE resample_date = CAST($1 AS DATE) AND column_name IS NULL ORDER BY rowid",
            newest,
        )
        scores = _rows(
            connection,
            f"SELECT regressor, trained_on, metric, value, ci_low, ci_high "
            f"FROM {quoted(table, 'regression_comparison')} WHERE resample_date = CAST($1 AS DATE) "
            "AND metric IN ('r2', 'roc_auc') ORDER BY rowid",
            newest,
        )
        source = _details(connection, table, "raw", None).get("source", "unknown")
        verdict = _details(connection, table, "regression_comparison", newest).get("verdict")
    return {
        "table": table,
        "newest": newest,
        "days_old": (datetime.now(UTC).date() - date.fromisoformat(newest)).days,
        "samples": len(days),
        "rows": days[newest]["rows"],
        "model_version": days[newest]["model_version"],
        "real_rows": source,
        "gates": days[newest]["gates"],
        "fidelity": numbers,
        "scores": scores,
        "verdict": verdict,
        "stopped": _stopped(paths, table, newest),
        "report": str(page) if page.exists() else None,
        "plots": [str(path) for path in sorted(paths.plots(table, newest).glob("*.png"))],
    }


def _stopped(paths: DataPaths, table: str, published: str) -> list[dict[str, Any]] | None:
    # What the gates said of later samples, which are in the warehouse alone; None while a run has that to itself.
    import duckdb

    if not paths.warehouse.exists():
        return []
    try:
        with duckdb.connect(str(paths.warehouse), read_only=True) as connection:
            return _rows(
                connection,
                'SELECT CAST(resample_date AS VARCHAR) AS "day", gate, message '
                f"FROM warehouse.{quoted(table, 'report')} "
                "WHERE blocking AND NOT passed AND resample_date > CAST($1 AS DATE) ORDER BY ALL",
                published,
            )
    except duckdb.IOException:
        return None
    except duckdb.CatalogException:
        return []


def _print(state: dict[str, Any]) -> None:
    table = state["table"]
    if state["newest"] is None:
        click.echo(f"{table}: no sample is published\n")
        return
    click.echo(
        f"{table}: {state['rows']:,} synthetic rows of {state['newest']}, model {state['model_version']}, "
        f"real rows: {state['real_rows']}"
    )
    click.echo(f"{_age(state['days_old'])}; published samples: {state['samples']}\n")
    for gate in state["gates"]:
        mark = "passed" if gate["passed"] else "failed" if gate["blocking"] else "warned"
        click.echo(f"{gate['gate']} {mark}: {gate['message']}")
    for stopped in state["stopped"] or []:
        click.echo(f"the sample of {stopped['day']} is not published, {stopped['gate']} failed: {stopped['message']}")
    if state["stopped"] is None:
        click.echo("whether a later sample was stopped cannot be told: a run is writing to the warehouse")
    for title, rows in (
        ("Fidelity of the whole table, beside what real rows score:", state["fidelity"]),
        ("Trained on it and scored on held-out rows, with 95% intervals:", state["scores"]),
    ):
        if rows:
            click.echo(f"\n{title}")
            cells = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
            output.write_text(list(rows[0]), [cells], sys.stdout)
    if state["verdict"]:
        click.echo(f"\n{state['verdict']}")
    click.echo()
    for path in [*state["plots"], *([state["report"]] if state["report"] else [])]:
        click.echo(f"{'report' if path.endswith('.html') else 'plot'}: {_short(Path(path))}")


def _age(days: int) -> str:
    return "of today" if days <= 0 else "of yesterday" if days == 1 else f"{days} days old"


def _rows(connection: "duckdb.DuckDBPyConnection", sql: str, day: str) -> list[dict[str, Any]]:
    connection.execute(sql, [day])
    names = [column[0] for column in connection.description or []]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]


def _details(connection: "duckdb.DuckDBPyConnection", table: str, asset: str, day: str | None) -> dict[str, Any]:
    row = connection.execute(
        f"SELECT details FROM {quoted(table, 'provenance')} WHERE asset = $1 "
        "AND partition_key IS NOT DISTINCT FROM $2 ORDER BY rowid DESC LIMIT 1",
        [asset, day],
    ).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
