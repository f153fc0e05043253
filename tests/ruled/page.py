"""The tables and rules of docs/rules.md, as a module of theirs would declare them.

Loaded with `pytest -p tests.ruled.page`, before anything reads what is declared.
"""

import re
import sys
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs/rules.md"


def load() -> None:
    """Run the code of the page, top to bottom."""
    code = "\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL))
    # SQLAlchemy looks for the names of annotations in the module of a class.
    module = sys.modules["shared.models.invoices"] = ModuleType("shared.models.invoices")
    exec(compile(code, str(PAGE), "exec"), vars(module))


load()
