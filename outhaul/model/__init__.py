"""A model: named, versioned files and where they came from."""
