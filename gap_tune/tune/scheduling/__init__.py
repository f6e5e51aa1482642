"""The scheduler's side: who decides, on what, and the log of decisions."""
