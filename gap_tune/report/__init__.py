"""Reports: what a study shows, as tables, figures, a page and CSV files."""

from gap_tune.report.answer import Verdict, verdict
from gap_tune.report.comparison import Comparison
from gap_tune.report.page import write_page
from gap_tune.report.tables import summarise, write_csv
from gap_tune.report.take_home.best import Best
from gap_tune.report.terminal import summary_table

__all__ = [
    "Best",
    "Comparison",
    "Verdict",
    "summarise",
    "summary_table",
    "verdict",
    "write_csv",
    "write_page",
]
