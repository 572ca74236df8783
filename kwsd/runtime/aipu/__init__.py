"""Runtime `aipu`: the Zhouyi neural processor through the open Compass driver.

The library runs in a child process of its own (`engine`); the parent (`client`, `session`) keeps
the state, the time limits and the decision what to do. See docs/aipu.md, also for what was never
tried on silicon.
"""
