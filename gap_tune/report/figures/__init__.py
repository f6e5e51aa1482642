"""Figures of a study: one look for all, and a plotly figure per function."""
