"""The `galley` command of the platform team."""
