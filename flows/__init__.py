"""Flows: the order of the steps, one screen each."""
