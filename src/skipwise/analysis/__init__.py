"""Figures. Each function returns a `matplotlib.figure.Figure`, and neither shows nor saves it."""
