"""Publications: building, keeping and reading the published tables."""
