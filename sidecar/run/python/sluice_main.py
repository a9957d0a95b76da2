"""Where an interpreter begins.  The rest is in modules, so that it is compiled once and not at each start."""

import sluice_runner

if __name__ == "__main__":
    sluice_runner.main()
