"""Step 5: gallery, search and metrics."""
