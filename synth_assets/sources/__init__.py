"""Where the rows of a table come from: one module a kind of source. No Dagster."""
