"""URIs with keys in them: in errors, logs, study files and documents only the rest is shown."""

from __future__ import annotations

import pytest

from gap_tune.cli.group import OneLine
from gap_tune.formatting import without_secrets

HIDDEN = [
    ("s3://KEY:hunter2@bucket/x", "s3://bucket/x"),
    ("s3://KEY:hun/ter2@bucket/x", "s3://bucket/x"),
    ("s3://bucket/x?password=hunter2&region=r", "s3://bucket/x?password=***&region=r"),
    ("s3://bucket/x?aws_credential=hunter2", "s3://bucket/x?aws_credential=***"),
    ("s3://bucket/x?Authorization=hunter2&a=b", "s3://bucket/x?Authorization=***&a=b"),
    ("s3://bucket/x?sas_token=hunter2", "s3://bucket/x?sas_token=***"),
    ("https://hunter2@host/x", "https://host/x"),
    (
        "s3://bucket/x?endpoint_override=http://me:hunter2@host:9000&scheme=http",
        "s3://bucket/x?endpoint_override=http://host:9000&scheme=http",
    ),
    (
        "s3://bucket/x?endpoint_override=http%3A%2F%2Fme%3Ahunter2%40host",
        "s3://bucket/x?endpoint_override=http%3A%2F%2Fhost",
    ),
]
SHOWN = [
    "s3://bucket/x?region=us-east-1&scheme=http&endpoint_override=host:9000",
    "abfss://container@account.dfs.core.windows.net/x",
    "https://host/a@b",
    "results/mine@home: no such file",
    "mail me@host.example, 3:4",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN)
def test_bug_some_secrets_of_a_uri_are_shown(text: str, shown: str) -> None:
    assert without_secrets(text) == shown
    assert "hunter2" not in without_secrets(f"got {text}: no")


@pytest.mark.parametrize("text", SHOWN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


@pytest.mark.parametrize(("text", "shown"), HIDDEN)
def test_bug_an_error_shows_the_secret_of_a_uri_that_stands_in_the_wrong_place(
    text: str, shown: str, capsys: pytest.CaptureFixture[str]
) -> None:
    OneLine(f"Got unexpected extra argument ({text})").show()
    assert "hunter2" not in capsys.readouterr().err
