"""What a table is: columns, keys, split. No models, no Dagster."""
