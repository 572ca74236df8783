"""Model packages: what is on disk, checked, and the streaming use of it."""
