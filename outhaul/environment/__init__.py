"""An environment: what a project's packages are made from, and the hash that names it. Pure."""
