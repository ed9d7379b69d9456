"""Drivers: open, close, and translate their errors into the tree of errors.py. One module a driver."""
