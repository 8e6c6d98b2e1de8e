"""Outhaul takes a project folder to a served model on your own machines."""

__version__ = "0.1.0"
