"""How peers may be named."""

import re
from typing import Final

LONGEST: Final = 100
"""Letters."""
NAME: Final = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9:_.-]{{0,{LONGEST - 1}}}")
"""What a unit of systemd, a file and a field of the journal can have in its name, too."""
