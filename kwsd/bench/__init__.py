"""Bench: what a model costs on every runtime that is here, beside what the hardware allows."""
