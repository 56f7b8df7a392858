"""Stand-ins for the network services that the project loads from, and nothing else."""
