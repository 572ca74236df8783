"""Analysis of what flows in: faults of channels, between them, and of the loop-back."""
