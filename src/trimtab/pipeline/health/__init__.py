"""What is known of targets, and what follows from it: breakers, balancing, budgets of extra requests.

Owns breaker states (shared by a machine's workers), latencies, retry and hedge budgets, and the choice of a target.
Promises: a healthy call pays some 0.7 µs for it, no system call and no lock; nothing here waits or asks anybody.
Never knows a provider's name, and never decides about an answer's content.
Entry: `choose`, `Target`.
"""

from .board import Board
from .budget import Budget
from .model import ModelPlan
from .report import TargetFigure, publish, read_targets, target_figures
from .target import NOBODY, Health, Target, choose, least_bad, soonest

__all__ = [
    "NOBODY",
    "Board",
    "Budget",
    "Health",
    "ModelPlan",
    "Target",
    "TargetFigure",
    "choose",
    "least_bad",
    "publish",
    "read_targets",
    "soonest",
    "target_figures",
]
