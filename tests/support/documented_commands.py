"""Commands and programs in the fenced blocks of Markdown pages, and the marks of those that no test runs.

A comment before a block says that it is not run, and why: `<!-- not run: needs a cluster -->`, or only the commands
that start in one way: `<!-- not run, deepmath push: needs the hub -->`. There may be several. A mark that fits nothing
is an error, and so is a block of commands without a language.
"""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("deploy/**/*.md")]
)
SHELL = {"sh", "bash", "console"}

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- not run(?:, (?P<start>[^:]+))?: (?P<reason>[^>]+) -->\n\n?\Z")
_COMMAND = re.compile(r"^(\$ |\.venv/bin/)?(deepmath|python|docker|kubectl|helm|make|pip|export) ", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block, with the marks before it: the start of the commands that are not run ("": all) and the reason."""

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The file that the block shows, by its first line `# PATH`; empty for others."""
        found = re.match(r"# ([\w./-]+/[\w.-]+)\n", self.text)
        return found[1] if found else ""

    @property
    def is_unlabelled_command(self) -> bool:
        """Whether the block has commands without saying so."""
        return not self.language and "──" not in self.text and bool(_COMMAND.search(self.text))

    @cached_property
    def commands(self) -> list[str]:
        """The commands, each whole: with its continuation lines, up to the end of a loop."""
        found, whole = [], ""
        for line in self.text.splitlines():
            whole += line.removeprefix("$ ") + "\n"
            if not line.endswith("\\") and _is_complete(whole):
                found += [whole.strip()] if shlex.split(whole, comments=True) else []
                whole = ""
        assert not whole.strip(), f"{self}: incomplete command {whole!r}"
        return found

    @property
    def run(self) -> list[str]:
        """The commands that no mark excludes."""
        return [command for command in self.commands if not any(command.startswith(start) for start, _ in self.marks)]

    @property
    def stale_marks(self) -> list[str]:
        """Marks that exclude nothing."""
        return [start for start, _ in self.marks if not any(command.startswith(start) for command in self.commands)]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page."""
    text = page.read_text()
    for match in _BLOCK.finditer(text):
        marks, before = [], text[: match.start()]
        while mark := _MARK.search(before):
            marks.append((mark["start"] or "", mark["reason"]))
            before = before[: mark.start()]
        content = "\n".join(line.removeprefix(match[1]) for line in match[3].split("\n"))
        yield Block(page, text.count("\n", 0, match.start()) + 1, match[2], content, tuple(marks))


def inline_commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each `deepmath COMMAND ...` within a line of prose."""
    for code in re.findall(r"`((?:\.venv/bin/)?deepmath [a-z][^`]*)`", _BLOCK.sub("", text)):
        try:
            yield shlex.split(code)
        except ValueError:
            yield code.split()


def _is_complete(command: str) -> bool:
    return subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False).returncode == 0
