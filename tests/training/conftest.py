"""The fixtures of workloads: the loop trains them."""

from tests.workloads.conftest import cache, root

__all__ = ["cache", "root"]
