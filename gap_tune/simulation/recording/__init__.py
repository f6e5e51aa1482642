"""Recording: the runs that simulated trials are made of."""
