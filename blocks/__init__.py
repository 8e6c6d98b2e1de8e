"""Blocks: what an operator edits in the Prefect UI; each hands out plain library objects."""
