"""Answering reads: boards, profiles, tallies."""
