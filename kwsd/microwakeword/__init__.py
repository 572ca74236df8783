"""ESPHome microWakeWord packages: a `.json` manifest and a `.tflite` that keeps its own state.

They run as they are, on the CPU, beside our own packages. See docs/model-package.md.
"""
