"""Style shared by all figures: colours, fonts, a title, and the source of the real rows."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008, and two greys.
BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
GREY, BAND = "#666666", "#BDBDBD"

INLINE_DPI, FILE_DPI = 80, 160
"""Pixels per inch of a picture in the UI, and of one in a file."""

_STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#333333",
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "legend.frameon": False,
    "figure.constrained_layout.h_pad": 0.07,
    "text.parse_math": False,  # names and labels come from data: a dollar sign in them is no formula
}

_LETTERS_AN_INCH = 11
"""Average width of the letters of a title."""


def as_png(figure: "Figure", *, dpi: int) -> bytes:
    """Render a figure as a PNG file of 256 colours, a third of the size of one in full colour."""
    from PIL import Image

    drawn, file = io.BytesIO(), io.BytesIO()
    with _style():
        figure.savefig(drawn, format="png", dpi=dpi)
        figure.set_layout_engine("none")  # already laid out; a second time would take most of the time
    with Image.open(drawn) as picture:
        picture.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, format="png", optimize=True)
    return file.getvalue()


@contextmanager
def new_figure(width: float, height: float, title: str, source: str) -> Iterator["Figure"]:
    """Create a figure without panels in this style, which applies while panels are drawn.

    Parameters
    ----------
    width, height : float
        In inches.
    title, source : str
        Title, in one line or more, and origin of the real rows.
    """
    from matplotlib.figure import Figure

    with _style():
        figure = Figure(figsize=(width, height), layout="constrained")
        letters = int(_LETTERS_AN_INCH * width)
        lines = [wrapped for line in title.splitlines() for wrapped in textwrap.wrap(line, letters)]
        figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)
        stamp = textwrap.fill(f"real rows: {source}", int(1.3 * letters))
        figure.supxlabel(stamp, x=0.01, ha="left", fontsize=8, color=GREY)
        yield figure


def legend(figure: "Figure", handles: "Sequence[Artist]") -> None:
    """Put a legend between the panels and the source, in as many lines as it needs."""
    width, height = figure.get_size_inches()
    letters = [8 + len(str(handle.get_label())) for handle in handles]
    room = 1.2 * _LETTERS_AN_INCH * width
    columns = len(handles) if sum(letters) <= room else max(1, int(room / max(letters)))
    lines = -(-len(handles) // columns)
    # The layout reserves space for the higher of legend and stamp only; empty lines in the stamp reserve it for both.
    stamp = figure.get_supxlabel()
    figure.supxlabel("\n" * (2 * lines) + stamp, x=0.01, ha="left", fontsize=8, color=GREY)
    lifted = 0.16 * (1 + stamp.count("\n")) / height
    figure.legend(handles=handles, loc="outside lower right", ncols=columns, bbox_to_anchor=(0, lifted, 1, 1))


def short(name: str, letters: int) -> str:
    """Return a name, shortened to a number of letters."""
    return name if len(name) <= letters else f"{name[: letters - 1]}…"


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield
