"""Style shared by all figures: colours, fonts, a title, and the source of the real rows."""

import io
import textwrap
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# Okabe and Ito, Color Universal Design, 2008, and two greys.
BLUE, ORANGE, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000"
GREY, BAND = "#666666", "#BDBDBD"

INLINE_DPI, FILE_DPI = 80, 160
"""Pixels per inch of a picture in the UI, and of one in a file."""

FONT = "DejaVu Sans"
"""The font of all figures; matplotlib brings it."""

_PREFERRED_FONTS = ("Noto Sans CJK", "Noto Sans", "WenQuanYi", "Droid Sans Fallback", "Arial Unicode MS", "Noto Emoji")
"""Fonts, by the beginning of their names, that are tried first for a character that `FONT` lacks."""

_STYLE: Any = {
    "font.family": [FONT],
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


@dataclass
class _Glyphs:
    """The characters of a figure that `FONT` lacks: the fonts that have them, and those that no font has."""

    families: list[str] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)


_GLYPHS: ContextVar[_Glyphs | None] = ContextVar("_GLYPHS", default=None)


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

    Text from data goes through `plain` or `short`. The title says which characters no installed font has.

    Parameters
    ----------
    width, height : float
        In inches.
    title, source : str
        Title, in one line or more, and origin of the real rows.
    """
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    glyphs = _Glyphs()
    token = _GLYPHS.set(glyphs)
    try:
        with _style():
            figure = Figure(figsize=(width, height), layout="constrained")
            letters = int(_LETTERS_AN_INCH * width)
            lines = [wrapped for line in title.splitlines() for wrapped in textwrap.wrap(plain(line), letters)]
            figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)
            stamp = textwrap.fill(f"real rows: {plain(source)}", int(1.3 * letters))
            figure.supxlabel(stamp, x=0.01, ha="left", fontsize=8, color=GREY)
            yield figure
            if glyphs.absent:
                lines += textwrap.wrap(_absent_note(glyphs.absent), letters)
                figure.suptitle("\n".join(lines), x=0.01, ha="left", fontsize=11)
            if glyphs.families:
                for text in figure.findobj(Text):
                    text.set_fontfamily([FONT, *glyphs.families])
    finally:
        _GLYPHS.reset(token)


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


def plain(text: str) -> str:
    """Return text as figures show it.

    Returns
    -------
    str
        The text in one line: an end of a line is drawn as ↵. A character that no installed font has is drawn as its
        Unicode code point, such as [5317], so that labels differ where their texts do.
    """
    glyphs = _GLYPHS.get() or _Glyphs()
    parts: list[tuple[bool, str]] = []  # whether it is a code point
    for character in text.replace("\r\n", "\n"):
        if character in "\n\r":
            parts.append((False, "↵"))
        elif character == "\t":
            parts.append((False, " "))
        elif ord(character) in _characters(_default_path()):
            parts.append((False, character))
        elif (family := _family_with(character)) is not None:
            if family not in glyphs.families:
                glyphs.families.append(family)
            parts.append((False, character))
        elif unicodedata.category(character) not in ("Cf", "Mn", "Cc"):  # joiners, accents and controls are left out
            glyphs.absent.add(character)
            parts.append((True, f"{ord(character):04X}"))
    shown = ""
    for i, (is_code, part) in enumerate(parts):
        after_code = i > 0 and parts[i - 1][0]
        before_code = i + 1 < len(parts) and parts[i + 1][0]
        shown += f"{' ' if after_code else '['}{part}{'' if before_code else ']'}" if is_code else part
    return shown


def short(name: str, letters: int) -> str:
    """Return a name as figures show it (see `plain`), shortened to a number of letters; a wide one counts as two."""
    shown = plain(name[: 4 * letters])
    if _width(shown) <= letters and len(name) <= 4 * letters:
        return shown
    while _width(shown) > letters - 1:
        shown = shown[:-1]
    return f"{shown}…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _absent_note(characters: set[str]) -> str:
    example = f"[{ord(min(characters)):04X}]"
    return (
        f"No installed font has {len(characters)} of the characters: they are shown as code points, such as {example}. "
        "Install one that has them, such as Noto Sans CJK."
    )


@cache
def _default_path() -> str:
    from matplotlib.font_manager import findfont

    return str(findfont(FONT))


@cache
def _characters(path: str) -> frozenset[int]:
    """Return the code points that a font has."""
    from matplotlib.font_manager import get_font

    try:
        return frozenset(get_font(path).get_charmap())
    except (OSError, RuntimeError):  # a file that has gone, or a font of bitmaps, such as Noto Color Emoji
        return frozenset()


@cache
def _family_with(character: str) -> str | None:
    """Return an installed font that has a character, a preferred one first."""
    return next((family for family, path in _fallback_fonts() if ord(character) in _characters(path)), None)


@cache
def _fallback_fonts() -> tuple[tuple[str, str], ...]:
    """List the installed fonts, name and path, in the order in which they are tried."""
    from matplotlib.font_manager import fontManager

    # Matplotlib's own fonts are for formulas, but for one that has a box for every character.
    fonts = {
        entry.name: entry.fname
        for entry in fontManager.ttflist
        if entry.style == "normal" and "mpl-data" not in entry.fname and "Last Resort" not in entry.name
    }

    def rank(family: str) -> tuple[int, str]:
        starts = (i for i, start in enumerate(_PREFERRED_FONTS) if family.startswith(start))
        return next(starts, len(_PREFERRED_FONTS)), family

    return tuple((family, fonts[family]) for family in sorted(fonts, key=rank))


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib as mpl

    with mpl.rc_context(_STYLE):
        yield
