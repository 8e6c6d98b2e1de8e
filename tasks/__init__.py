"""Tasks: one thin step per library verb, with its name, retries and journal line."""
