"""What tells a difference from chance: paired tests, equivalence, and a bootstrap."""
