"""What a language model of rows is made from and how it is sampled, as plain values."""

from dataclasses import dataclass
from typing import Literal

from synth_assets.errors import ForeseenError

SCRATCH = "scratch"
"""The base that is made from the table itself, instead of being loaded by a name or a path."""

Engine = Literal["be_great"]


class ModelError(ForeseenError, RuntimeError):
    """A language model cannot be made, read or sampled; the message says why and what to do."""


@dataclass(frozen=True)
class ScratchBase:
    """The shape of the GPT-2 with random weights that the base 'scratch' makes.

    Parameters
    ----------
    n_layer, n_head, n_embd : int
        Layers, attention heads, and width, named as in `transformers.GPT2Config`.
    dropout : float
        The share of activations dropped in training.
    """

    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 64
    dropout: float = 0.0


@dataclass(frozen=True)
class ModelSpec:
    """How a language model of rows is made.

    Parameters
    ----------
    engine : {"be_great"}
        What trains and samples: `be_great.GReaT` as it is.
    base : str
        'scratch', or the name or path of any causal language model that transformers loads.
    scratch : ScratchBase
        The shape of a 'scratch' base; ignored for others.
    epochs, batch_size, learning_rate
        As in `transformers.TrainingArguments`.
    logging_steps, save_steps : int
        Training steps between two reports of the loss, and between two checkpoints.
    seed : int
        Of the random weights, the order of rows and columns, and dropout.
    """

    engine: Engine = "be_great"
    base: str = SCRATCH
    scratch: ScratchBase = ScratchBase()
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 5e-5
    logging_steps: int = 500
    save_steps: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class SampleSpec:
    """How rows are sampled.

    Parameters
    ----------
    n_samples : int
        How many rows are wanted.
    temperature : float
        Of the softmax over the next token; be_great's own default is 0.7, and 1.0 is what the model learned.
    batch_size : int
        Rows that are written at a time.
    max_length : int
        Tokens a row may take.
    max_draws : int
        Rows that may be drawn for each row that is wanted, before the model is given up as unable to write one.
    """

    n_samples: int = 3000
    temperature: float = 0.7
    batch_size: int = 100
    max_length: int = 100
    max_draws: int = 20
