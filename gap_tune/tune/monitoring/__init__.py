"""Watching a study: Ray's metrics, histograms, regret, Ray's page and the terminal."""
