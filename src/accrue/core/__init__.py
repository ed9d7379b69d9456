"""What the words mean. Pure: no I/O, no async, no clock, no randomness."""
