"""How good a synthetic sample is, beside what real rows score, and the figures drawn from that.

Belongs here: pure functions of data frames. Does not belong here: Dagster, files, and anything that changes a sample.
"""
