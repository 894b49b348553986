"""A look of its own: colours that differ in grey and for the colour-blind, on white or on black."""

from typing import Any

from ._axes import pyplot

# After Okabe and Ito; neighbours differ in lightness, and lines in their dashes too.
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
_ON_BLACK = ("#56B4E9", "#F0E442", "#009E73", "#E69F00", "#D55E00", "#CC79A7")
_INK = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color")
_DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))


def style(dark: bool = False) -> Any:
    """A context within which figures have the look of this library.

    The colours differ for the colour-blind, lines have different dashes, densities are drawn in
    `cividis`: all of it reads in grey. Use it as `with plot.style(): ...`.

    **Arguments:** `dark`: whether to draw on black.

    !!! example

        ```python
        with plot.style(dark=True):
            ax = plot.measure(mu)
        ```
    """
    plt = pyplot()
    ink, paper, faint = (
        ("#dddddd", "#131416", "#3a3d41") if dark else ("#222222", "white", "#dddddd")
    )
    colors = _ON_BLACK if dark else _COLORS
    return plt.rc_context(
        {
            "axes.prop_cycle": plt.cycler(color=colors, linestyle=_DASHES),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": False,
            "axes.facecolor": paper,
            "figure.facecolor": paper,
            "savefig.facecolor": paper,
            "legend.frameon": False,
            "image.cmap": "cividis",
            "grid.color": faint,
            **dict.fromkeys(
                ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"),
                ink,
            ),
        }
    )
