"""Evaluation of synthetic rows: metrics beside their references, gates, figures and the report.

Functions of data frames; no Dagster, no warehouse, and nothing that changes a sample.
"""
