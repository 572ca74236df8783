"""Measurements of the running service: latency, footprint, subscribers, soak."""
