"""Optimizer families: what a study's arm trains with, and the space to search it in."""
