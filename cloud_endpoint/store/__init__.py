"""The record of the fleet: a Store port, its SQL in one place, and SQLite as the first implementation."""
