r"""Detection of LaTeX commands that a JSON parser has read as escapes: `"\frac"` gives a form feed and `rac`.

JSON's escapes `\b`, `\f`, `\n`, `\r` and `\t` are also the first two characters of LaTeX commands. A file whose
backslashes are not doubled is valid JSON, and means something else.
"""

import re

_LETTERS = {"\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
# Lines and tabs are legitimate in a text, so these count only before the rest of a command's name, and not where the
# rest is a word (\nless, \nmid).
_COMMANDS = {
    "n": "nabla natural ncong ne nearrow neg neq newline ngeq ngtr ni nleq not notin nsubseteq nu nwarrow",
    "r": "raisebox rangle rbrace rbrack rceil rfloor rho right rightarrow rightleftharpoons rm root rvert",
    "t": "tag tan tanh tau tbinom text textbf textcircled textdegree textit textnormal textrm textsf textstyle texttt "
    "textup tfrac therefore theta tilde times to top triangle triangleq",
}
_REST = {letter: {name[1:] for name in names.split()} for letter, names in _COMMANDS.items()}
# What may also stand at the start of a line of prose: "Find\nan integer", "Let\nm".
_PROSE = {"an", "e", "i", "m", "o", "u"}
_SUSPECT = re.compile(r"[\b\f\n\r\t]([A-Za-z]+)")


def find_unescaped(text: str, prose: bool = False) -> str | None:
    r"""Return the first LaTeX command of `text` whose backslash was read as a JSON escape, such as `\frac`, or None.

    In `prose`, such as a question, a line that starts with a short word is no damaged command.
    """
    for found in _SUSPECT.finditer(text):
        letter, rest = _LETTERS[found[0][0]], found[1]
        if letter in "bf" or (rest in _REST[letter] and not (prose and rest in _PROSE)):
            return f"\\{letter}{rest}"
    return None
