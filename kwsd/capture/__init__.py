"""Capture: live audio from a sound card, and what watches over it."""
