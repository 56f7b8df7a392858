"""Commands that summarize the current publication: `status` and `report`."""

import json
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth_assets.cli import output
from synth_assets.cli.options import as_json_option, selected_table, table_argument
from synth_assets.publishing import client
from synth_assets.publishing.publications import Publication, Publications, folder_name
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.sql import quoted
from synth_assets.storage.warehouse import CATALOG, CHECKS

if TYPE_CHECKING:
    import duckdb


COMPARISON = "regression_comparison"


@click.command()
@as_json_option
@click.pass_obj
def status(paths: DataPaths, as_json: bool) -> None:
    """Show the age of each table, the verdicts of its gates, its main metrics, and the paths of files."""
    store = Publications(paths)
    if store.current_id() is None:
        _explain_why_nothing_is_published(paths)
    publication = store.current()
    publication.require_format()
    found = {
        "publication": publication.id,
        "published_at": publication.manifest["published_at"],
        "tables": [_summary(paths, publication, table) for table in publication.manifest["tables"]],
        "not_published": _failures_of_others(paths, publication.manifest["tables"]),
        "paths": {
            "published": str(paths.published),
            "parquet": {
                table: str(paths.published.parent / folder_name(table) / "synthetic_sample")
                for table in publication.manifest["tables"]
                if publication.samples(table)
            },
            "warehouse": str(paths.warehouse),
            "publications": str(Publications(paths).folder),
        },
    }
    if as_json:
        click.echo(output.to_json(found, indent=1))
        return
    for table in found["tables"]:
        _print(paths, table)
    for line in found["not_published"]:
        click.echo(line)
    click.echo(f"publication {publication.id}, of {found['published_at'][:19]} UTC")
    click.echo(f"published: {_short(paths.published)}")
    for table, folder in found["paths"]["parquet"].items():
        click.echo(f"{table} as Parquet: {_short(Path(folder))}")
    first = found["tables"][0]["table"]
    click.echo(f'query: synth-assets query "from {first}.synthetic_latest limit 5"')
    click.echo(f"in Python: synth_assets.read_table({first!r})")


@click.command()
@table_argument(required=False)
@click.option(
    "--date",
    "resample_date",
    help="Resample date of the sample, published or not; by default the latest published one.",
)
@click.option("--open", "show", is_flag=True, help="Open the report in a browser.")
@as_json_option
@click.pass_obj
def report(paths: DataPaths, table: str | None, resample_date: str | None, show: bool, as_json: bool) -> None:
    """Print the path of the HTML report of a sample."""
    if table is None or resample_date is None or not paths.report(table, resample_date).exists():
        table = selected_table(paths, table)
        publication = Publications(paths).current()
        latest = client.latest_resample_date(publication, table)
        resample_date = resample_date or latest
        if resample_date not in publication.samples(table):
            raise client.ReadError(
                f"no sample of {table} of {resample_date!r} is published; the latest is of {latest}."
            )
    page = paths.report(table, resample_date)
    if not page.exists():
        raise client.ReadError(f"there is no report {page}; materialize {table}/report of that resample date.")
    found = {"table": table, "day": resample_date, "report": str(page)}
    click.echo(output.to_json(found) if as_json else str(page))
    if show:
        click.launch(page.as_uri())


COMMANDS = (status, report)


def _summary(paths: DataPaths, publication: Publication, table: str) -> dict[str, Any]:
    samples = publication.samples(table)
    if not samples:
        return {"table": table, "newest": None, "samples": 0}
    latest = max(samples)
    page = paths.report(table, latest)
    with client.connect(paths.root) as connection:
        metrics = _rows(
            connection,
            f"SELECT metric, value, reference FROM {quoted(table, 'fidelity')} "
            "WHERE resample_date = CAST($1 AS DATE) AND column_name IS NULL ORDER BY rowid",
            latest,
        )
        # A table without a target has no comparison.
        scores = (
            _rows(
                connection,
                f"SELECT regressor, trained_on, metric, value, ci_low, ci_high "
                f"FROM {quoted(table, COMPARISON)} WHERE resample_date = CAST($1 AS DATE) "
                "AND metric IN ('r2', 'roc_auc') ORDER BY rowid",
                latest,
            )
            if COMPARISON in publication.manifest["tables"][table]["tables"]
            else []
        )
        source = _details(connection, table, "raw", None).get("source", "unknown")
        verdict = _details(connection, table, COMPARISON, latest).get("verdict")
    return {
        "table": table,
        "newest": latest,
        "days_old": (datetime.now(UTC).date() - date.fromisoformat(latest)).days,
        "samples": len(samples),
        "rows": samples[latest]["rows"],
        "model_version": samples[latest]["model_version"],
        "real_rows": source,
        "gates": samples[latest]["gates"],
        "fidelity": metrics,
        "scores": scores,
        "verdict": verdict,
        "stopped": _failed_later(paths, table, latest),
        "checks": _failed_checks(paths, table, latest),
        "report": str(page) if page.exists() else None,
        "plots": [str(path) for path in sorted(paths.plots(table, latest).glob("*.png"))],
    }


def _warehouse(paths: DataPaths) -> "duckdb.DuckDBPyConnection":
    import duckdb

    # Or else DuckDB takes a table that is not there yet for an object of Python that has its name.
    return duckdb.connect(str(paths.warehouse), read_only=True, config={"python_enable_replacements": False})


def _failed_later(paths: DataPaths, table: str, latest: str | None) -> list[dict[str, Any]] | None:
    # Failed gates of samples after the latest published one, or of all if none is published. None while a run holds
    # the warehouse.
    import duckdb

    if not paths.warehouse.exists():
        return []
    try:
        with _warehouse(paths) as connection:
            return _rows(
                connection,
                "SELECT CAST(resample_date AS VARCHAR) AS resample_date, gate, message "
                f"FROM {quoted(CATALOG, table, 'report')} AS report "
                "WHERE blocking AND NOT passed AND ($1 IS NULL OR report.resample_date > CAST($1 AS DATE)) "
                "ORDER BY ALL",
                latest,
            )
    except duckdb.IOException:
        return None
    except (duckdb.CatalogException, duckdb.BinderException):  # no report yet, or a warehouse of another format
        return []


def _failed_checks(paths: DataPaths, table: str, latest: str | None) -> list[dict[str, Any]]:
    # Blocking checks of the stored raw table, and of samples after the latest published one, that failed.
    import duckdb

    found: list[dict[str, Any]] = []
    if not paths.warehouse.exists():
        return found
    for asset, day in (("raw", "NULL"), ("synthetic_sample", "resample_date")):
        try:
            with _warehouse(paths) as connection:
                found += _rows(
                    connection,
                    f"SELECT '{asset}' AS asset, CAST({day} AS VARCHAR) AS resample_date, check_name, message "
                    f"FROM {quoted(CATALOG, table, asset + CHECKS)} WHERE blocking AND NOT passed "
                    f"AND ({day} IS NULL OR $1 IS NULL OR {day} > CAST($1 AS DATE)) ORDER BY ALL",
                    latest,
                )
        except duckdb.Error:  # a run holds the warehouse, or no check has run
            continue
    return found


def _gate_sentences(paths: DataPaths, table: str, failures: list[dict[str, Any]] | None) -> list[str]:
    sentences = [
        f"sample of {failed['resample_date']} not published, {failed['gate']} failed: {failed['message']}"
        for failed in failures or []
    ]
    pages = {failed["resample_date"]: paths.report(table, failed["resample_date"]) for failed in failures or []}
    return sentences + [f"report of {day}: {_short(page)}" for day, page in pages.items() if page.exists()]


def _check_sentences(table: str, checks: list[dict[str, Any]]) -> list[str]:
    return [
        f"{table}/{check['asset']}{' of ' + check['resample_date'] if check['resample_date'] else ''}: the check "
        f"{check['check_name']} found: {check['message']}"
        for check in checks
    ]


def _explain_why_nothing_is_published(paths: DataPaths) -> None:
    """Raise a `ReadError` with the checks and gates that failed, if some did."""
    if found := _failures_of_others(paths, ()):
        raise client.ReadError("\n".join(["nothing is published yet.", *found]))


def _failures_of_others(paths: DataPaths, published: Iterable[str]) -> list[str]:
    """Return the failed checks and gates of tables that are not published, as sentences; none while a run writes."""
    import duckdb

    if not paths.warehouse.exists():
        return []
    try:
        with _warehouse(paths) as connection:
            tables = [
                row[0] for row in connection.execute("SELECT DISTINCT schema_name FROM duckdb_tables()").fetchall()
            ]
    except duckdb.Error:
        return []
    found = []
    for table in sorted(set(tables) - set(published)):
        found += _check_sentences(table, _failed_checks(paths, table, None))
        found += [f"{table}: {line}" for line in _gate_sentences(paths, table, _failed_later(paths, table, None))]
    return found


def _print(paths: DataPaths, summary: dict[str, Any]) -> None:
    table = summary["table"]
    if summary["newest"] is None:
        click.echo(f"{table}: no sample is published\n")
        return
    click.echo(
        f"{table}: {summary['rows']:,} synthetic rows of {summary['newest']}, model {summary['model_version']}, "
        f"source: {summary['real_rows']}"
    )
    click.echo(f"{_age(summary['days_old'])}; published samples: {summary['samples']}\n")
    for gate in summary["gates"]:
        mark = "passed" if gate["passed"] else "failed" if gate["blocking"] else "warned"
        click.echo(f"{gate['gate']} {mark}: {gate['message']}")
    for line in _gate_sentences(paths, table, summary["stopped"]):
        click.echo(line)
    for line in _check_sentences(table, summary["checks"]):
        click.echo(line)
    if summary["stopped"] is None:
        click.echo("verdicts on later samples cannot be read: a run is writing to the warehouse")
    for title, rows in (
        ("Fidelity of the table, with the same metric of real rows as reference:", summary["fidelity"]),
        ("Models trained on it and scored on holdout rows, with 95% intervals:", summary["scores"]),
    ):
        if rows:
            click.echo(f"\n{title}")
            cells = [[f"{cell:.3f}" if isinstance(cell, float) else cell for cell in row.values()] for row in rows]
            output.write_text(list(rows[0]), [cells], sys.stdout)
    if summary["verdict"]:
        click.echo(f"\n{summary['verdict']}")
    click.echo()
    for path in [*summary["plots"], *([summary["report"]] if summary["report"] else [])]:
        click.echo(f"{'report' if path.endswith('.html') else 'plot'}: {_short(Path(path))}")


def _age(days: int) -> str:
    return "of today" if days <= 0 else "of yesterday" if days == 1 else f"{days} days old"


def _rows(connection: "duckdb.DuckDBPyConnection", sql: str, resample_date: str | None) -> list[dict[str, Any]]:
    connection.execute(sql, [resample_date])
    names = [column[0] for column in connection.description or []]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]


def _details(
    connection: "duckdb.DuckDBPyConnection", table: str, asset: str, resample_date: str | None
) -> dict[str, Any]:
    row = connection.execute(
        f"SELECT details FROM {quoted(table, 'provenance')} WHERE asset = $1 "
        "AND partition_key IS NOT DISTINCT FROM $2 ORDER BY rowid DESC LIMIT 1",
        [asset, resample_date],
    ).fetchone()
    return dict(json.loads(row[0])) if row else {}


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
