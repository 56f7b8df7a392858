"""Heavy libraries that most steps use: imported by the fork server of a run, never by what loads definitions."""

import matplotlib.pyplot  # noqa: F401
import scipy.stats  # noqa: F401
import sklearn.ensemble  # noqa: F401
import sklearn.linear_model  # noqa: F401
import sklearn.model_selection  # noqa: F401
import torch  # noqa: F401
import duckdb  # noqa: F401
