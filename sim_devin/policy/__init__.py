"""Rules, approvals and the account of spending."""

from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy

__all__ = ["COSTS_MONEY", "DESTRUCTIVE", "Policy"]
