"""Every message of the troubleshooting page is provoked, and is the code's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.messages import PROVOKED
from tests.docs.pages import messages

ROWS = messages()


def test_every_message_of_the_troubleshooting_page_is_provoked() -> None:
    assert len(ROWS) >= 8
    assert len(ROWS) == len(PROVOKED)


@pytest.mark.parametrize("provoke", PROVOKED, ids=lambda f: f.__name__)
def test_a_message_is_on_the_troubleshooting_page(
    provoke: Callable[[Path], str], tmp_path: Path, ray_address: str
) -> None:
    message = provoke(tmp_path)
    found = [row for row in ROWS if row in message]
    assert len(found) == 1, f"no row of the table for: {message}"
