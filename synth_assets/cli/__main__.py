"""`python -m synth_assets.cli`, where the script `synth-assets` is not on the path."""

from synth_assets.cli.main import main

main(prog_name="synth-assets")
