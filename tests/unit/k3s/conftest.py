"""A node that k3s is to run on, played in a folder."""

from tests.fakes.k3s_world import no_fsync, world  # noqa: F401
