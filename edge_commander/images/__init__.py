"""Pulling ahead what pods are about to need."""
