"""Step 1: words, regions and data sets."""
