"""Reshape published data sets into events. A loader renames and splits rows; every point comes from the program."""
