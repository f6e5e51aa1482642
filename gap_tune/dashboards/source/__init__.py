"""What the Grafana dashboard is made from, with Grafana's own classes, at development time only.

``python -m gap_tune.dashboards.source`` (``make dashboard``) writes the JSON that gap_tune ships
anew. It needs ``grafana-foundation-sdk``, which gap_tune itself does without.
"""
