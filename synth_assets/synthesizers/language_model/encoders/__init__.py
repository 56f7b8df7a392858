"""Lossless encoding of rows as integers: one encoder a column type, and one for rows."""

from synth_assets.synthesizers.language_model.encoders.categorical import CategoricalEncoder
from synth_assets.synthesizers.language_model.encoders.numeric import NumericEncoder
from synth_assets.synthesizers.language_model.encoders.residuals import Predictor
from synth_assets.synthesizers.language_model.encoders.row_encoder import ColumnEncoder, RowEncoder

__all__ = ["CategoricalEncoder", "ColumnEncoder", "NumericEncoder", "Predictor", "RowEncoder"]
