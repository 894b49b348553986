"""The systems, one a file, by field."""
