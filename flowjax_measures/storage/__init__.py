"""Results as files and labelled data sets."""

from . import checkpoint as checkpoint
