"""Rules that people set: limits, budgets, alerts."""
