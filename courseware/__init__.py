"""What an instructor and a contributor run: set up, build notebooks, test. The command is `course`."""

import sys

# nbformat imports jsonschema, and that a grammar of international web addresses: 1.3 seconds of a processor in each
# process. Only a check that no notebook's schema asks for needs it. jsonschema does without it where it cannot be imported.
sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
