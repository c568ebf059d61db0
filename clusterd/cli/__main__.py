"""`python -m clusterd.cli` is clusterctl."""

import sys

from clusterd.cli.main import main

sys.exit(main())
