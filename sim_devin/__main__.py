"""``python -m sim_devin``: the command line."""

from sim_devin.cli.main import main

if __name__ == "__main__":
    main()
