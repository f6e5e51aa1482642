"""The page of simulated studies."""
