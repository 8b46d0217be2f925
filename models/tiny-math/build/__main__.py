"""Runs the build program of the embedded model."""

from build_command import main

if __name__ == "__main__":
    main()
