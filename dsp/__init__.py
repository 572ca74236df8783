"""The DSP stage: numpy reference, one stage a file; frontend.py puts them together."""
