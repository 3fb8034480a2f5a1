"""A line that was trained several times, made once for all tests of what becomes of its versions."""

import pytest

from tests.release.trained import a_trained_line
from tests.stations import Station


@pytest.fixture(scope="session")
def trained_line(tmp_path_factory: pytest.TempPathFactory) -> Station:
    """Tests may train further and write the tables anew; versions that there are stay as they are."""
    return a_trained_line(tmp_path_factory.mktemp("factory"))
