"""``python -m rlbuffers``: the command line, for where the script of that name is not on the path."""

import sys

from rlbuffers_cli.entry import main

if __name__ == "__main__":
    sys.argv[0] = "rlbuffers"  # buffers record the command that made them
    main()
