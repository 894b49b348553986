"""The commands of `python -m flowjax_measures`."""
