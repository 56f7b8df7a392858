"""What is deployed: a folder with a `defs.yaml` for each table, and the resources that they share."""
