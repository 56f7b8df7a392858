"""The deployed tables: one folder with a `defs.yaml` each."""
