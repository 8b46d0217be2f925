"""LaTeX commands of expressions, by what they stand for."""

FRACTIONS = frozenset({r"\frac", r"\dfrac", r"\tfrac", r"\cfrac"})
BINOMIALS = frozenset({r"\binom", r"\dbinom", r"\tbinom"})
GREEK = frozenset(
    """
    alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi omicron rho
    varrho sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi
    Psi Omega ell hbar
    """.split()
)
CONSTANTS = {
    r"\pi": "pi",
    r"\infty": "infinity",
    r"\infin": "infinity",
    r"\emptyset": "empty",
    r"\varnothing": "empty",
    r"\imath": "i",
    r"\R": "R",
    r"\Z": "Z",
    r"\N": "N",
    r"\Q": "Q",
    r"\C": "C",
    r"\reals": "R",
}
LETTER_FONTS = frozenset({r"\mathcal", r"\mathscr", r"\mathfrak", r"\vec", r"\hat", r"\tilde", r"\overrightarrow"})
NUMBER_FONTS = frozenset({r"\mathbb", r"\Bbb"})
LENGTHS = frozenset({r"\angle", r"\triangle", r"\measuredangle", r"\widehat", r"\overline", r"\overarc", r"\bar"})
ELLIPSES = frozenset({r"\ldots", r"\dots", r"\cdots", r"\dotsc", r"\dotsb", r"\vdots", r"\ddots"})
