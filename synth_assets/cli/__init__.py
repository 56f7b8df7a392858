"""The command line `synth-assets`: thin; what it does is done by client.py, publications.py and the publisher.

Modules are loaded by the command that needs them, so that `--help` and completion answer at once.
"""

from synth_assets.cli.main import main

__all__ = ["main"]
