"""``python -m gilscope`` and the ``gilscope`` command.

Nothing is imported before :func:`main` runs: the workers of the process pool import this module, too.
"""


def main() -> int:
    """Run the command line and return its exit code."""
    from gilscope.commands.main import main as run  # noqa: PLC0415  see above

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
