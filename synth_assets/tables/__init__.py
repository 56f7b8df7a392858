"""What a table is: its columns, where its rows come from, how it is encoded and split.

Belongs here: pure functions and dataclasses on data frames. Does not belong here: Dagster, language models,
evaluation.
"""
