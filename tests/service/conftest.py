"""Several workers over each of the stores, as the tests of durable runs have them."""

from tests.durable.conftest import (  # noqa: F401 - fixtures
    open_app,
    postgres,
    postgres_server,
    store,
)
