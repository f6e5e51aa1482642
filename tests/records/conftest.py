"""Records of made-up studies, as the reports' tests have them."""

from tests.report.conftest import make_records as make_records
