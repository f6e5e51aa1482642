"""A suite of studies: arms over many settings and learning rates, and what does its runs."""
