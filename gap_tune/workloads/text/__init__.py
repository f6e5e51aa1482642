"""Workloads on text."""
