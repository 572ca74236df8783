"""Packages for other runtimes: the network written in their formats."""
