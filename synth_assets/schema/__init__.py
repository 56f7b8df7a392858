"""Schema of a table: columns, constraints, encoding, split."""
