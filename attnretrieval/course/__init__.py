"""The cases on which every equation is checked."""
