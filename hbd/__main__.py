import sys

from hbd.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
