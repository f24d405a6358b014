"""Fast forms."""
