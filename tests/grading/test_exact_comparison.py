"""Cost of comparisons in the caller's process."""

import time

import pytest

from deepmath.grading.exact_comparison import MAX_CHARACTERS, compare_exactly, is_comparable

HOSTILE = r"""
{ } ( ) [ ] \{ \} | ^ _ \frac \sqrt 1 x
+ - * / = < , ; \text{ \text{and} \pm ! % ° \in \cup & \\ \ldots . √ ½ : f(x) |x|
1,000 (x+1)
9^9 \sum_{k=1}^{500} \prod_{k=1}^{500} \begin{pmatrix} \left \right $ ~ " ' \overline{ 0. 1e9 ² a< b=c, \binom
""".split()


def seconds(text: str) -> float:
    started = time.process_time()
    compare_exactly(r"\sqrt{3}+x", text)
    compare_exactly(text, r"\{1,2\}")
    is_comparable(text)
    return time.process_time() - started


@pytest.mark.parametrize("unit", HOSTILE)
def test_time_grows_in_proportion_to_the_text(unit: str) -> None:
    short, long = ((unit * MAX_CHARACTERS)[:size] for size in (MAX_CHARACTERS // 4, MAX_CHARACTERS))
    quickest = [min(seconds(text) for _ in range(4)) for text in (short, long)]
    assert quickest[1] < 12 * quickest[0] + 0.02  # 16 times if quadratic, 4 times if linear


@pytest.mark.parametrize("unit", HOSTILE)
def test_longer_text_is_not_read(unit: str) -> None:
    text = unit * 100_000
    started = time.process_time()
    assert compare_exactly("x+1", text) is False
    assert compare_exactly(text, "x+1") is None
    assert is_comparable(text) is False
    assert time.process_time() - started < 1
