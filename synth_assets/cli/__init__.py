"""The command line `synth-assets`.

Each command imports what it needs when it runs, so that `--help` and completion are fast.
"""

from synth_assets.cli.main import main

__all__ = ["main"]
