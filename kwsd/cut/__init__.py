"""Cut: divide a network into bodies for the AIPU and heads, tails and gaps for the CPU."""
