"""What the Grafana dashboard in ``gap_tune/dashboards`` is made from; no part of the package.

``python -m dashboards`` (``make dashboard``) writes it anew, with Grafana's own classes, so that
``gap_tune`` does without them.
"""
