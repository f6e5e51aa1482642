"""The panel: many small task settings, on which changes of the default rule are judged.

``gap-tune panel`` is the way in. From Python: ``settings.read_settings``, ``panel.run_panel``,
``scores.score``, ``verdict.verdict``, ``page.write_page``.
"""
