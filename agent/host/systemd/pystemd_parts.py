# SPDX-License-Identifier: Apache-2.0
"""Makes pystemd's D-Bus library importable without the rest of pystemd.

`import pystemd.dbuslib` first runs pystemd/__init__.py, which loads lxml for introspection: 6 MiB
of the agent's memory for what it never does, as it names interfaces and signatures itself. So the
package is entered into sys.modules as it is on disk, but not run; its parts are found as ever.
"""

from __future__ import annotations

import importlib.util
import sys

if "pystemd" not in sys.modules:
    _spec = importlib.util.find_spec("pystemd")
    if _spec is not None:
        sys.modules["pystemd"] = importlib.util.module_from_spec(_spec)
