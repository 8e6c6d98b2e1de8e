"""A run: one execution of a project's entry script, from its plan to its saved outputs."""
