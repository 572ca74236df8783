"""Judging a model: recordings through the whole chain, misses against false accepts per hour."""
