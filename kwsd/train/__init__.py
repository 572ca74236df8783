"""Training: from a phrase and folders of recordings to a model package."""
