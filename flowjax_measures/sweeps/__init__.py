"""One program over many parameters, in pieces that survive the end of the process."""

from ._sweep import Sweep as Sweep, sweep as sweep
