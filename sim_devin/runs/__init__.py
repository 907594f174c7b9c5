"""Runs that survive: recorded block by block, parked while they wait, woken once."""
