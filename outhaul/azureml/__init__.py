"""Azure ML v1's own project files, read unchanged."""
