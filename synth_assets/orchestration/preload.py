"""Libraries that most steps of a run use; imported by the fork server only, never when definitions are loaded."""

import duckdb
import matplotlib.figure
import scipy.stats
import sklearn.ensemble
import sklearn.linear_model
import sklearn.model_selection
import sklearn.neighbors
import torch
