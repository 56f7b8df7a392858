"""The components: what a `defs.yaml` may ask for."""

from synth_assets.components.synthetic_table import SyntheticTable

__all__ = ["SyntheticTable"]
