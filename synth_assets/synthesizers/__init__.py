"""What makes synthetic rows: one interface, one module a method. No Dagster, no held-out rows."""
