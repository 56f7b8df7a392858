"""Conditional generative adversarial network (Xu et al., NeurIPS 2019), by SDV's CTGANSynthesizer, own settings."""

from common import fit_sdv, run_peer
from sdv.single_table import CTGANSynthesizer

if __name__ == "__main__":
    run_peer("sdv", fit_sdv(CTGANSynthesizer), takes_gaps=True)
