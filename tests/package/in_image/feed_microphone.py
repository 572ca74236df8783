"""feed_microphone.py RECORDING FIFO: deliver the samples at the pace of a microphone."""

import sys
import time

import soundfile as sf

PERIOD_MS = 30
"""As kwsd reads: ALSA's file plugin fills up with silence what one read of the FIFO lacks."""

LEAD_S = 10
"""Silence first: whoever subscribes to the events needs time to start."""

samples, rate_hz = sf.read(sys.argv[1], dtype="int16")
period = rate_hz * PERIOD_MS // 1000
silence = bytes(samples[:period].nbytes)
lead = LEAD_S * 1000 // PERIOD_MS
words = [samples[start : start + period].tobytes() for start in range(0, len(samples), period)]
try:
    with open(sys.argv[2], "wb", buffering=0) as fifo:
        due_s = time.monotonic()
        for number in range(sys.maxsize):
            sound = 0 <= number - lead < len(words) - 1
            fifo.write(words[number - lead] if sound else silence)
            due_s += period / rate_hz
            time.sleep(max(0.0, due_s - time.monotonic()))
except BrokenPipeError:
    pass  # The daemon has closed its microphone.
