"""Tests, and the site in a box that tests and demo share."""
