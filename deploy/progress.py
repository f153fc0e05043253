"""How far a long step is, for somebody who waits: a line that is rewritten on a terminal, a few elsewhere."""

import sys
import time

MEGABYTE = 1e6


class Progress:
    """Counts bytes of `total`, or of an unknown number."""

    def __init__(self, total: int | None = None) -> None:
        self.total = total
        self.done = 0
        self.is_terminal = sys.stdout.isatty()
        self.pause_s = 0.2 if self.is_terminal else 10
        self.shown_at = time.monotonic()

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self.done += size
        if time.monotonic() - self.shown_at >= self.pause_s:
            self.shown_at = time.monotonic()
            self.show()

    def show(self) -> None:
        """Say it now."""
        text = f"  {self.done / MEGABYTE:,.1f} MB"
        if self.total:
            text += f" of {self.total / MEGABYTE:,.1f} MB, {100 * self.done // self.total} %"
        # To the start of the line, and its rest away.
        print(f"\r{text}\033[K" if self.is_terminal else f"{text}\n", end="", flush=True)

    def end(self) -> None:
        """All is done; what comes next begins on a line of its own."""
        self.show()
        if self.is_terminal:
            print()
