"""Model to AIPU: what the compiler would not read, what it needs, and its graph in the package."""
