"""Variational autoencoder of tables (Xu et al., NeurIPS 2019), by SDV's TVAESynthesizer with its own settings."""

from common import fit_sdv, run_peer
from sdv.single_table import TVAESynthesizer

if __name__ == "__main__":
    run_peer("sdv", fit_sdv(TVAESynthesizer), takes_gaps=True)
