"""Real tables in, trustworthy synthetic tables out: a Dagster project."""
