"""The long-running service: live input, the chain, the bus, and what systemd is told."""
