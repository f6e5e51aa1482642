"""What to take home from a study: its best trial as it was trained, and code that trains so."""
