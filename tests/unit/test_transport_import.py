"""`replay` uses the types of the transport and must not wait for Faust to load."""

from __future__ import annotations

import subprocess
import sys


def test_the_types_load_neither_faust_nor_aiokafka() -> None:
    script = "import sys, streams.transport.api; sys.exit(bool({'faust', 'aiokafka'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_package_hands_out_all_that_it_promises() -> None:
    script = "import streams.transport as t; [getattr(t, name) for name in t.__all__]"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
