"""The bar of a run: it says what runs, and that a compiler is at work before the first step."""

import sys

import diffrax


class Bar(diffrax.TqdmProgressMeter):
    """diffrax's bar with a label."""

    label: str = "simulate"

    def _init_bar(self):  # pyright: ignore[reportIncompatibleMethodOverride]
        bar = super()._init_bar()
        bar.bar_format = "{desc}: " + bar.bar_format
        bar.set_description_str(self.label)
        return bar


_NONE = diffrax.NoProgressMeter()


def bar(wanted: bool, label: str = "simulate") -> diffrax.AbstractProgressMeter:
    """A progress bar, or none."""
    if not wanted:
        return _NONE
    # A bar is made by the program itself, when it has been compiled; it is drawn over this.
    print(f"{label}: compiling", end="\r", file=sys.stderr, flush=True)
    return Bar(label=label)
