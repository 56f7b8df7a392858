"""What consumers read: publications, how they are built, kept and read. No Dagster."""
