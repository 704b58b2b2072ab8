"""What every model family must hold, as tests that a family fills in: for ours, and for those of other packages.

It needs pytest, which skipwise itself does not (extra `testing`), and nothing else of skipwise imports it.
"""

from skipwise.errors import SkipwiseError

try:
    import pytest
except ImportError as error:
    raise SkipwiseError('the conformance suite needs pytest. Install it: pip install "skipwise[testing]".') from error

pytest.register_assert_rewrite("skipwise.testing.suite", "skipwise.testing.case")  # a failure shows its values

from skipwise.testing.case import FamilyCase, SharedModule  # noqa: E402 - after the line above
from skipwise.testing.suite import ConformanceSuite, PaddedBatchSuite  # noqa: E402

__all__ = ["ConformanceSuite", "FamilyCase", "PaddedBatchSuite", "SharedModule"]
