"""The language model of rows: its base, its training, its sampling, its files.

Belongs here: everything that touches be_great, transformers and torch, which are imported inside functions only, so
that importing this package costs nothing. Does not belong here: Dagster, and any look at held-out rows.
"""
