"""A project folder: its description, read from its own files, v1's files and flags, and checked at the edge."""
