"""What lies in an experiment's storage: uploads, our files, checkpoints (facts 9, 14 and 31)."""
