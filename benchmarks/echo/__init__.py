"""Front ends for a wake-word detector, compared over simulated rooms: see run.py."""
