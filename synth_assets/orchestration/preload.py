"""Libraries that most steps of a run use; imported by the fork server only, never when definitions are loaded."""

import duckdb  # noqa: F401
import matplotlib.figure  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.ensemble  # noqa: F401
import sklearn.linear_model  # noqa: F401
import sklearn.model_selection  # noqa: F401
import sklearn.neighbors  # noqa: F401
import torch  # noqa: F401
