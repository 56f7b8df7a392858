"""A schema inferred from rows: the type of each column, why it was chosen, and what no type holds."""

from synth_assets.schema.infer.inference import MIN_ROWS, Inference, infer, infer_schema

__all__ = ["MIN_ROWS", "Inference", "infer", "infer_schema"]
