"""Publishes the samples in the warehouse that passed their gates."""

import shutil
from collections.abc import Iterable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from synth_assets.publishing.builder import PublicationBuilder, PublishSpec, build
from synth_assets.publishing.publications import Publication, PublicationError, Publications, as_publication_error
from synth_assets.publishing.retention import UNLIMITED, Retention
from synth_assets.storage.objects import ObjectStore
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import LARGE_SAMPLE_ROWS, Warehouse


@dataclass(frozen=True)
class PublishResult:
    """Result of publishing.

    Parameters
    ----------
    publication : Publication
        The current publication.
    is_new : bool
        False if the current publication already held these rows, and nothing was changed.
    left_out : dict of str to str
        The reason why a sample in the warehouse is not published, by resample date.
    expired : list of str
        The resample dates that retention deleted.
    skipped_bases : list of str
        The reason why each earlier publication could not be built on.
    """

    publication: Publication
    is_new: bool
    left_out: dict[str, str]
    expired: list[str]
    skipped_bases: list[str]


@dataclass(frozen=True)
class Publisher:
    """Publishes the samples in the warehouse that passed their gates.

    Parameters
    ----------
    paths : DataPaths
        The data folder.
    warehouse : Warehouse
        The source of new rows.
    keep : int
        Number of publications that are kept for rollbacks.
    grace_hours : float
        Hours that a publication is kept for its readers after it was current.
    copied_rows : int
        Most synthetic rows of a table that are copied into the DuckDB file. Of a table with more, the file has views
        over the Parquet files, under the same names.
    """

    paths: DataPaths
    warehouse: Warehouse
    keep: int = 10
    grace_hours: float = 24.0
    copied_rows: int = LARGE_SAMPLE_ROWS

    @property
    def path(self) -> Path:
        """The DuckDB file that consumers open."""
        return self.paths.published

    @property
    def publications(self) -> Publications:
        """The publications of the data folder."""
        return Publications(self.paths)

    def publish(
        self,
        spec: PublishSpec,
        *,
        retention: Retention = UNLIMITED,
        resample_date: str | None = None,
        run_id: str | None = None,
    ) -> PublishResult:
        """Publish the tables of a spec, with every sample that passed its gates.

        Other source tables stay as published. So does a published sample whose replacement in the warehouse did not
        pass. If the current publication already holds these rows, nothing is changed.

        Parameters
        ----------
        spec : PublishSpec
            What is published of a table.
        retention : Retention
            Which samples are deleted, from the publication and from the warehouse.
        resample_date : str, optional
            The sample that must be publishable; otherwise nothing is published.
        run_id : str, optional
            The run that publishes, for the history.

        Returns
        -------
        PublishResult
            The current publication, and what was left out.

        Raises
        ------
        PublicationError
            If no sample may be published, or not the one of `resample_date`, or the disk cannot be written to.
        WarehouseError
            If the warehouse cannot be read.
        """
        publications = self.publications
        with as_publication_error(self.path), publications.locked():
            base, skipped = self._base()
            with publications.building() as folder, self._build(folder, base) as builder:
                new, left_out = builder.publishable_samples(spec)
                if resample_date is not None and resample_date not in new:
                    raise PublicationError(
                        f"the sample of {spec.name} of {resample_date} is not published: "
                        f"{left_out.get(resample_date, 'the warehouse has none')}. Consumers keep the current "
                        "publication."
                    )
                carried_over = base.samples(spec.name).keys() - new.keys() if base else set()
                if not new and not carried_over:
                    reasons = "".join(f" {each}: {reason}." for each, reason in left_out.items())
                    raise PublicationError(f"{spec.name} has no sample that passed its gates.{reasons}")
                expired = retention.expired({*new, *carried_over})
                builder.add_table(
                    spec,
                    {each: verdicts for each, verdicts in new.items() if each not in expired},
                    carried_over - expired,
                )
                publication, is_new = self._install(builder, "publish", table=spec.name, run_id=run_id)
            if retention.is_limited:
                oldest = min(publication.samples(spec.name))
                expired |= {each for each in left_out if each < oldest}
            for each in sorted(expired):
                self._delete_from_pipeline(spec.name, each)
            publications.share()
            self._delete_unfinished(spec.name, expired)
        return PublishResult(publication, is_new, left_out, sorted(expired), skipped)

    def delete(self, table: str, resample_date: str) -> int:
        """Delete a sample from the warehouse, the figures, the reports and all publications.

        Consumers get a publication without it; earlier publications with it are removed. After a kill, delete again.
        Models and the event log of Dagster are not changed.

        Returns
        -------
        int
            Number of rows, of all tables, deleted from the warehouse.

        Raises
        ------
        PublicationError
            If there is no such sample, or the disk cannot be written to.
        WarehouseError
            If the warehouse cannot be written to.
        """
        publications = self.publications
        with as_publication_error(self.path), publications.locked():
            base, skipped = self._base()
            is_published = any(resample_date in each.samples(table) for each in publications.all())
            if is_published and base is None:
                raise PublicationError(
                    f"{' '.join(skipped)} Nothing was deleted: first publish again, then delete {resample_date}."
                )
            rows = self._delete_from_pipeline(table, resample_date)
            if not rows and not is_published:
                raise PublicationError(
                    f"{table} has no sample of {resample_date}, neither published nor in the warehouse."
                )
            if base is not None and table in base.manifest["tables"]:
                with publications.building() as folder, self._build(folder, base) as builder:
                    builder.add_published(table, without={resample_date})
                    self._install(builder, "delete", table=table, resample_date=resample_date)
            for publication in publications.all():
                if resample_date in publication.samples(table) and publication.id != publications.current_id():
                    publications.remove(publication)
            if publications.current_id() is not None:
                publications.share()
            self._delete_unfinished(table, [resample_date])
        return rows

    def _build(self, folder: Path, base: Publication | None) -> AbstractContextManager[PublicationBuilder]:
        return build(folder, base, warehouse=self.warehouse, copied_rows=self.copied_rows)

    def _base(self) -> tuple[Publication | None, list[str]]:
        # The current publication, or the newest other one if that is damaged or has another format.
        skipped = []
        for publication in self._current_first():
            try:
                publication.require_format()
                publication.verify()
            except PublicationError as error:
                skipped.append(str(error))
            else:
                return publication, skipped
        return None, skipped

    def _current_first(self) -> list[Publication]:
        current = self.publications.current_id()
        return sorted(self.publications.all(), key=lambda each: each.id != current)

    def _install(self, builder: PublicationBuilder, action: str, **details: Any) -> tuple[Publication, bool]:
        publications = self.publications
        current = publications.current_id()
        manifest = builder.finish(previous=current)
        publication = self._with_state(manifest["state"]) or publications.add(builder.folder, manifest)
        is_new = publication.id != current
        if is_new:
            publications.make_current(publication, action, **details)
        publications.link_for_consumers(publication)
        publications.prune(keep=self.keep, grace=timedelta(hours=self.grace_hours))
        return publication, is_new

    def _with_state(self, state: str) -> Publication | None:
        for publication in self._current_first():
            if publication.manifest["state"] == state:
                with suppress(PublicationError):  # do not reuse a damaged one
                    publication.verify()
                    return publication
        return None

    def _delete_from_pipeline(self, table: str, resample_date: str) -> int:
        rows = self.warehouse.delete_sample(table, resample_date)
        self.paths.report(table, resample_date).unlink(missing_ok=True)
        plots = self.paths.plots(table, resample_date)
        if plots.exists():
            shutil.rmtree(plots)
        return rows

    def _delete_unfinished(self, table: str, resample_dates: Iterable[str]) -> None:
        """Delete what a cluster has left of samples in the object store, which it did not complete."""
        if self.paths.storage is None:
            return
        store = ObjectStore(self.paths.storage)
        for each in resample_dates:
            below = self.paths.samples(table, each).relative_to(self.paths.root)
            store.delete(store.names(below.as_posix()))
