"""Bridges: programs beside the daemon that carry its events to other systems.

Each is a process of its own on the event bus; none needs the DSP stage, a model or a runtime.
"""
