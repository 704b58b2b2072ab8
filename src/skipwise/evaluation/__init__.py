"""How good, how sparse and how fast: scores with intervals, cost, and dense against pruned."""

from skipwise.evaluation.compare import Comparison, compare, differences
from skipwise.evaluation.cost import MacCount, count_macs
from skipwise.evaluation.run import Evaluation, evaluate

__all__ = ["Comparison", "Evaluation", "MacCount", "compare", "count_macs", "differences", "evaluate"]
