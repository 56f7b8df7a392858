"""What a language model of rows is made from and how it is sampled, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from synth_assets.errors import ForeseenError

SCRATCH = "scratch"
"""The base that is made from the table itself, instead of being loaded by a name or a path."""

Engine = Literal["great", "be_great"]


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
class TeacherSpec:
    """How the forest is grown that writes a model's first rows.

    Parameters
    ----------
    trees : int
        Trees a column.
    leaf : int
        Train rows a leaf, at least. Few copy more of the rows; many blur what is between the columns.
    features : float
        The share of columns that a split chooses from.
    smoothing : float
        The standard deviation of the noise on a number, as a share of that of its leaf.
    """

    trees: int = 100
    leaf: int = 10
    features: float = 1.0
    smoothing: float = 0.15


@dataclass(frozen=True)
class TrainingSpec:
    """How our engine trains, beyond what be_great has too.

    Parameters
    ----------
    validation : float
        The share of the train rows that nothing is learned from, and by which the best weights are chosen.
    patience : int
        Epochs without a better validation loss after which a phase ends.
    averaging : float
        Of the moving average of the weights, on the real rows.
    teacher_rows : int
        Rows that a forest writes for the first lessons; 0 to start on the real rows.
    teacher_epochs : int
        Epochs on these, at most.
    teacher_learning_rate : float
        At its height, on these.
    teacher : TeacherSpec
        The forest.
    save_epochs : int
        Epochs between two checkpoints.
    """

    validation: float = 0.1
    patience: int = 3
    averaging: float = 0.99
    teacher_rows: int = 300_000
    teacher_epochs: int = 1
    teacher_learning_rate: float = 3e-3
    teacher: TeacherSpec = TeacherSpec()
    save_epochs: int = 1


@dataclass(frozen=True)
class ModelSpec:
    """How a language model of rows is made.

    Parameters
    ----------
    engine : {"great", "be_great"}
        What trains and samples: ours, or `be_great.GReaT` as it is.
    base : str
        'scratch', or the name or path of any causal language model that transformers loads.
    scratch : ScratchBase
        The shape of a 'scratch' base; ignored for others.
    epochs, batch_size, learning_rate
        As in `transformers.TrainingArguments`. Our engine takes at most so many epochs on the real rows.
    logging_steps, save_steps : int
        Training steps between two reports of the loss, and between two checkpoints; be_great only.
    seed : int
        Of the random weights, the order of rows and columns, and dropout.
    order : tuple of str
        Columns that are written first, in order; ours only. The rest of the order is found from the train rows.
    orders : int
        In how many orders rows are learned; ours only. From the second on they are permutations drawn by the seed, and
        numbers are written as they are. Rows are sampled in the first; conditions and known cells are given in the
        one that has them earliest.
    differences : bool
        Whether numbers may be written as differences from a prediction by the columns before, where there is one order;
        ours only.
    lora : bool
        Whether a large base learns through low-rank adapters, as be_great offers it.
    training : TrainingSpec
        The rest of what our engine is told.
    """

    engine: Engine = "great"
    base: str = SCRATCH
    scratch: ScratchBase = ScratchBase()
    epochs: int = 30
    batch_size: int = 16
    learning_rate: float = 5e-5
    logging_steps: int = 500
    save_steps: int = 2000
    seed: int = 0
    order: tuple[str, ...] = ()
    orders: int = 1
    differences: bool = True
    lora: bool = False
    training: TrainingSpec = TrainingSpec()


@dataclass(frozen=True)
class SampleSpec:
    """How rows are sampled.

    Parameters
    ----------
    n_samples : int
        How many rows are wanted.
    temperature : float
        Of the softmax over the next token; 1.0 is what the model learned, and be_great's own default is 0.7.
    batch_size : int
        Rows that are written at a time.
    conditions : mapping of str to str, optional
        What rows have to meet, in be_great's syntax; ours only.
    max_length : int
        Tokens a row may take; be_great only.
    max_draws : int
        Rows that may be drawn for each row that is wanted, before the model is given up as unable to write one;
        be_great only.
    """

    n_samples: int = 3000
    temperature: float = 1.0
    batch_size: int = 1000
    conditions: Mapping[str, str] | None = None
    max_length: int = 100
    max_draws: int = 20
