"""The training loop of all workloads: batches, devices, precision, ranks and exact resume."""
