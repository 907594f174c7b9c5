"""``python -m sim_devin``: the command line."""

from sim_devin.cli import main

if __name__ == "__main__":
    main()
