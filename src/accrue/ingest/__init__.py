"""Accepting events: validate, stamp, commit in groups, answer when durable."""
