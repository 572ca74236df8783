"""Inference runtimes: what is there, and a loaded model that makes one step."""
