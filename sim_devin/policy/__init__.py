"""Rules, approvals and the spending account."""

from sim_devin.policy.rules import COSTS_MONEY, DESTRUCTIVE, Policy

__all__ = ["COSTS_MONEY", "DESTRUCTIVE", "Policy"]
