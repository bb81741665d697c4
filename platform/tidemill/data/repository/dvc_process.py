"""DVC's command line in a process of its own: ``python -P -m tidemill.data.repository.dvc_process``."""

import sys

from tidemill.garbage import collect_rarely

if __name__ == "__main__":
    collect_rarely()
    from dvc.cli import main

    from tidemill.data.repository.private_dvc import take_braces_in_paths

    take_braces_in_paths()
    sys.exit(main(sys.argv[1:]))
