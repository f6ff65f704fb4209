"""Pages of rules that people set: limits, budgets, alerts."""
