"""Gaussian copula with beta distributed columns, by SDV's GaussianCopulaSynthesizer with its own settings."""

from common import fit_sdv, run_peer
from sdv.single_table import GaussianCopulaSynthesizer

if __name__ == "__main__":
    run_peer("sdv", fit_sdv(GaussianCopulaSynthesizer), takes_gaps=True)
