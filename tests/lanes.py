"""How thorough tests of properties are: less in `make quick`, more in `make slow`."""

import os

VARIABLE = "EXAMPLES"  # a factor of every number of examples


def examples(count):
    """Return how many examples to try where `make test` tries `count`."""
    return max(5, round(count * float(os.environ.get(VARIABLE, "1"))))
