"""The publisher: makes a publication of what the warehouse holds and the gates let through."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from synth_assets.publishing.builder import PublicationBuilder, PublishSpec, building
from synth_assets.publishing.publications import Publication, PublicationError, Publications, as_publication_error
from synth_assets.publishing.retention import FOR_EVER, Retention
from synth_assets.storage.paths import DataPaths
from synth_assets.storage.warehouse import Warehouse


@dataclass(frozen=True)
class PublishResult:
    """What came of publishing.

    Parameters
    ----------
    publication : Publication
        What is current now.
    is_new : bool
        False if what was current holds these rows already, and nothing was done.
    left_out : dict of str to str
        The days whose samples in the warehouse are not published, and why.
    expired : list of str
        The days that were deleted since they are kept no longer.
    damaged : list of str
        What is wrong with publications that could not be built on.
    """

    publication: Publication
    is_new: bool
    left_out: dict[str, str]
    expired: list[str]
    damaged: list[str]


@dataclass(frozen=True)
class Publisher:
    """Publishes what the warehouse holds and the gates let through.

    Parameters
    ----------
    paths : DataPaths
        The data folder that holds the publications.
    warehouse : Warehouse
        Where new rows come from.
    keep : int
        As many publications are kept, so that a rollback has somewhere to go.
    grace_hours : float
        One that was current is kept for as long in any case, so that its readers finish.
    """

    paths: DataPaths
    warehouse: Warehouse
    keep: int = 10
    grace_hours: float = 24.0

    @property
    def path(self) -> Path:
        """The DuckDB file that consumers open."""
        return self.paths.published

    @property
    def publications(self) -> Publications:
        """The publications."""
        return Publications(self.paths)

    def publish(
        self,
        offer: PublishSpec,
        *,
        retention: Retention = FOR_EVER,
        wanted: str | None = None,
        run_id: str | None = None,
    ) -> PublishResult:
        """Publish what the warehouse holds of a table; of its samples, those that passed their gates.

        Other tables stay as they are published, and so does a day whose sample was made anew and did not pass: of that
        day consumers keep the last good one. If these rows are published already, nothing is done.

        Parameters
        ----------
        offer : PublishSpec
            What is published of the table.
        retention : Retention
            How long its samples are kept; later, they are deleted, here and in the warehouse.
        wanted : str, optional
            The day that this is about: if its sample may not be published, nothing is.
        run_id : str, optional
            The run that publishes, for the record.

        Returns
        -------
        PublishResult
            What is current now, and what was left out.

        Raises
        ------
        PublicationError
            If no sample may be published, or not the wanted one, or the disk cannot be written to. What was published
            before is still there.
        WarehouseError
            If the warehouse cannot be read.
        """
        publications = self.publications
        with as_publication_error(self.path), publications.locked():
            base, damaged = self._base()
            with publications.building() as folder, building(folder, base) as built:
                fresh, left_out = built.judged(offer, self.warehouse)
                if wanted is not None and wanted not in fresh:
                    raise PublicationError(
                        f"the sample of {offer.name} of {wanted} is not published: "
                        f"{left_out.get(wanted, 'the warehouse has none')}. Consumers keep what was published before."
                    )
                kept = base.days(offer.name).keys() - fresh.keys() if base else set()
                if not fresh and not kept:
                    reasons = "".join(f" {day}: {reason}." for day, reason in left_out.items())
                    raise PublicationError(f"{offer.name} has no sample that passed its gates.{reasons}")
                expired = retention.expired({*fresh, *kept})
                built.add_table(
                    offer,
                    {day: verdicts for day, verdicts in fresh.items() if day not in expired},
                    kept - expired,
                )
                publication, is_new = self._install(built, "publish", table=offer.name, run_id=run_id)
            if retention.is_limited:
                oldest = min(publication.days(offer.name))
                expired |= {day for day in left_out if day < oldest}
            for day in sorted(expired):
                self._delete_from_pipeline(offer.name, day)
        return PublishResult(publication, is_new, left_out, sorted(expired), damaged)

    def delete(self, table: str, day: str) -> int:
        """Delete a day's sample everywhere: rows and records in the warehouse, figures, report, and publications.

        Consumers get a publication without it, and earlier ones that hold it are removed. If the process is killed
        halfway, deleting again goes on. Models stay, and so does what Dagster's event log says of its runs.

        Parameters
        ----------
        table : str
            The table that is synthesized.
        day : str
            An ISO date.

        Returns
        -------
        int
            How many rows, of all tables, were deleted from the warehouse.

        Raises
        ------
        PublicationError
            If there is no such sample, or the disk cannot be written to.
        WarehouseError
            If the warehouse cannot be written to.
        """
        publications = self.publications
        with as_publication_error(self.path), publications.locked():
            base, damaged = self._base()
            published = any(day in each.days(table) for each in publications.all())
            rows = self._delete_from_pipeline(table, day)
            if not rows and not published:
                raise PublicationError(f"{table} has no sample of {day}, neither published nor in the warehouse.")
            if published and base is None:
                raise PublicationError(
                    f"{' '.join(damaged)} Nothing can be published without {day} before that is mended."
                )
            if base is not None and table in base.manifest["tables"]:
                with publications.building() as folder, building(folder, base) as built:
                    built.add_published(table, without={day})
                    self._install(built, "delete", table=table, day=day)
            for publication in publications.all():
                if day in publication.days(table) and publication.id != publications.current_id():
                    publications.remove(publication)
        return rows

    def _base(self) -> tuple[Publication | None, list[str]]:
        # What is published next builds on what is published; if that is damaged, on the newest that is whole.
        damaged = []
        for publication in self._current_first():
            try:
                publication.verify()
            except PublicationError as error:
                damaged.append(str(error))
            else:
                return publication, damaged
        return None, damaged

    def _current_first(self) -> list[Publication]:
        current = self.publications.current_id()
        return sorted(self.publications.all(), key=lambda each: each.id != current)

    def _install(self, built: PublicationBuilder, action: str, **details: Any) -> tuple[Publication, bool]:
        publications = self.publications
        current = publications.current_id()
        manifest = built.finish(previous=current)
        publication = self._known(manifest["state"]) or publications.add(built.folder, manifest)
        is_new = publication.id != current
        if is_new:
            publications.make_current(publication, action, **details)
        publications.link_for_consumers(publication)
        publications.prune(keep=self.keep, grace=timedelta(hours=self.grace_hours))
        return publication, is_new

    def _known(self, state: str) -> Publication | None:
        for publication in self._current_first():
            if publication.manifest["state"] == state:
                with suppress(PublicationError):  # a damaged one is not used again
                    publication.verify()
                    return publication
        return None

    def _delete_from_pipeline(self, table: str, day: str) -> int:
        rows = self.warehouse.delete_partition(table, day)
        paths = self.paths
        paths.report(table, day).unlink(missing_ok=True)
        if paths.plots(table, day).exists():
            shutil.rmtree(paths.plots(table, day))
        return rows
