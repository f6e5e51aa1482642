"""What the driver and a trial cost here, measured with real studies of Ray Tune."""
