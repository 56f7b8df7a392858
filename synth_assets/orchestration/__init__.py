"""The Dagster layer: component, assets, resources, automation. Nothing else in the package imports Dagster."""

from synth_assets.orchestration.component import SyntheticTable

__all__ = ["SyntheticTable"]
