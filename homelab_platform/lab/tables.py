"""Tables of facts that lie as YAML beside the code that reads them: boards, host services, what is served.

Belongs here: the one way to read such a table. Not here: the lab file, which needs positions (yaml_reader.py), or what
a table means (the module beside it).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def read_table(file: Path) -> Any:
    """The content of a YAML file of ours, by libyaml's parser, which takes a tenth of the time of Python's own.

    Raises OSError, or yaml.YAMLError for a damaged checkout.
    """
    return yaml.load(file.read_bytes(), Loader=yaml.CSafeLoader)
