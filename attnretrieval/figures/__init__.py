"""Attention maps, curves and sheets, as Matplotlib figures."""
