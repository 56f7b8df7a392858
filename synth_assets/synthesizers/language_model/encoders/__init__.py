"""Encoding of rows as integers: one encoder a column type, and one for rows."""

from synth_assets.synthesizers.language_model.encoders.base import ABSENT, MISSING, UNENCODABLE, Part
from synth_assets.synthesizers.language_model.encoders.categorical import CategoricalEncoder
from synth_assets.synthesizers.language_model.encoders.numeric import NumericEncoder
from synth_assets.synthesizers.language_model.encoders.residuals import Predictor
from synth_assets.synthesizers.language_model.encoders.row_encoder import ColumnEncoder, RowEncoder, ValueEncoder
from synth_assets.synthesizers.language_model.encoders.text import TextEncoder
from synth_assets.synthesizers.language_model.encoders.token_text import TokenTextEncoder

__all__ = [
    "ABSENT",
    "MISSING",
    "UNENCODABLE",
    "CategoricalEncoder",
    "ColumnEncoder",
    "NumericEncoder",
    "Part",
    "Predictor",
    "RowEncoder",
    "TextEncoder",
    "TokenTextEncoder",
    "ValueEncoder",
]
