"""A service: what it asks for, its versions and replicas, its rollout, its scale."""
