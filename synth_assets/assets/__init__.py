"""One module an asset: it reads, calls the library, writes, reports. Its checks stand beside it.

Belongs here: what Dagster shows of a step. Does not belong here: anything that could be tested without Dagster.
"""
