"""Sources: where blocks of audio come from."""
