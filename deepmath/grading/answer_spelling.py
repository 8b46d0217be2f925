r"""Spelling of answers in LaTeX: Unicode mathematics and full-width characters become commands."""

# ruff: noqa: RUF001 -- look-alike characters are what this module is about

import re

_COMMANDS = {
    symbol: command
    for row in r"""
    × \times, · \cdot, ⋅ \cdot, ∙ \cdot, • \cdot, ÷ \div, ± \pm, ∓ \mp, ∞ \infty, ≤ \le, ≥ \ge, ⩽ \le, ⩾ \ge,
    ≦ \le, ≧ \ge,
    ≠ \ne, ≈ \approx, ≡ \equiv, ∈ \in, ∉ \notin, ∪ \cup, ∩ \cap, ∖ \setminus, ⊂ \subset, ⊆ \subseteq, ∅ \emptyset,
    ℝ \mathbb{R}, ℤ \mathbb{Z}, ℕ \mathbb{N}, ℚ \mathbb{Q}, ℂ \mathbb{C}, … \ldots, ⋯ \cdots, ⟨ \langle, ⟩ \rangle,
    ⌊ \lfloor, ⌋ \rfloor, ⌈ \lceil, ⌉ \rceil, → \to,
    ∠ \angle, △ \triangle, ∆ \Delta, ∀ \forall, ∣ \mid, ∑ \sum, ∏ \prod,
    ∧ \land, ∨ \lor, º ^\circ, ˚ ^\circ, ∝ \propto, ∥ \parallel, ⊥ \perp, ∫ \int, ∂ \partial, ⇒ \Rightarrow,
    α \alpha, β \beta, γ \gamma, δ \delta, ε \varepsilon, ϵ \epsilon, ζ \zeta, η \eta, θ \theta, ϑ \vartheta, ι \iota,
    κ \kappa, λ \lambda, μ \mu, µ \mu, ν \nu, ξ \xi, π \pi, ρ \rho, σ \sigma, τ \tau, υ \upsilon, φ \phi, ϕ \phi,
    χ \chi, ψ \psi, ω \omega, Γ \Gamma, Δ \Delta, Θ \Theta, Λ \Lambda, Ξ \Xi, Π \Pi, Σ \Sigma, Φ \Phi, Ψ \Psi,
    Ω \Omega, 𝜋 \pi, 𝛑 \pi, ｛ \{, ｝ \}, ℓ \ell, ⅈ i, ⅇ e
    """.split(",")
    for symbol, command in [row.split()]
}
_FRACTIONS = {
    symbol: rf"\frac{{{text[0]}}}{{{text[1:]}}}"
    for symbol, text in zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒", "12 13 23 14 34 15 25 35 45 16 56 17 18 38 58 78 19 110".split(), strict=True
    )
}
_CHARACTERS: dict[int, str] = (
    {ord(symbol): f"{command} " for symbol, command in _COMMANDS.items()}
    | {ord(symbol): text for symbol, text in _FRACTIONS.items()}
    | {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F) if chr(code) not in "｛｝"}
    | {ord(minus): "-" for minus in "−–—‒‐‑﹣－⁻"[:-1]}
    | {ord(space): " " for space in "\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"}
    | {ord(nothing): "" for nothing in "\u200b\u200c\u200d\u2060\ufeff\u2061\u2062\u2063\u200e\u200f"}
    | dict(zip(map(ord, "∕⁄，、；：。′″’‘“”∗∶＄￥"), ["/", "/", *", , ; : .".split(), "'", "''", "'", "'", '"', '"',
                                                   *"* : $ $".split()], strict=True))
)  # fmt: skip
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱˣ", "0123456789+-=()nix", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙₓₖᵢⱼ", "0123456789+-=()nxkij", strict=True))
_RAISED_RUN = re.compile(f"[{''.join(_RAISED)}]+")
_LOWERED_RUN = re.compile(f"[{''.join(_LOWERED)}]+")
# The sign alone, without a bar, covers a number, a letter or a parenthesis.
_ROOT = re.compile(r"([√∛∜])\s*(?:(\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])|π)|(?=[\(\{\\]))")
_ROOT_COMMANDS = {"√": r"\sqrt", "∛": r"\sqrt[3]", "∜": r"\sqrt[4]"}
# Letters and digits of mathematical fonts, in the order of their block.
_FONT_START, _FONT_END = 0x1D400, 0x1D6A4
_DIGITS_START, _DIGITS_END = 0x1D7CE, 0x1D800
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CHARACTERS |= {code: _LETTERS[(code - _FONT_START) % 52] for code in range(_FONT_START, _FONT_END)}
_CHARACTERS |= {code: str((code - _DIGITS_START) % 10) for code in range(_DIGITS_START, _DIGITS_END)}


def respell(text: str) -> str:
    """Return `text` with Unicode mathematics written as LaTeX commands. The time is linear in its length."""
    if text.isascii():
        return text
    text = _RAISED_RUN.sub(lambda run: f"^{{{''.join(_RAISED[one] for one in run[0])}}}", text)
    text = _LOWERED_RUN.sub(lambda run: f"_{{{''.join(_LOWERED[one] for one in run[0])}}}", text)
    text = _ROOT.sub(_root, text)
    return text.translate(_CHARACTERS)


def _root(found: re.Match[str]) -> str:
    command = _ROOT_COMMANDS[found[1]]
    return f"{command}{{{found[2]}}}" if found[2] else command
