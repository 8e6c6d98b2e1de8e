"""Records over the object store, and the names of all its keys."""
