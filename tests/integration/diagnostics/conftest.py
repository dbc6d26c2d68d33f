"""The endpoint, the operator and the commanders of tests/integration/commander."""

from tests.integration.commander.conftest import commanders, endpoint, operator

__all__ = ["commanders", "endpoint", "operator"]
