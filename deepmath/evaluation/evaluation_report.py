"""The report on evaluation runs: statistics, tables, plots and traces, written as files to a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation import breakdown_tables, report_tables
from deepmath.evaluation.answer_classes import judge_problems
from deepmath.evaluation.evaluation_files import read_settings
from deepmath.evaluation.html_report import TraceGroup, leading, render
from deepmath.evaluation.published_results import PublishedResults
from deepmath.evaluation.run_comparison import RunComparison, compare
from deepmath.evaluation.sample_sets import SampleSet, benchmark_names, load_sample_sets
from deepmath.evaluation.summary_statistics import SummaryStatistics, summarize
from deepmath.evaluation.text_table import TextTable
from deepmath.evaluation.trace_selection import select_traces
from deepmath.grading.verifier import Verifier
from deepmath.printable_text import markdown_text


@dataclass(frozen=True)
class EvaluationReport:
    """The statistics of all samples in the folders, and the sample sets behind them."""

    folders: Sequence[Path]
    sample_sets: list[SampleSet]
    statistics: list[SummaryStatistics]
    ks: dict[str, int]
    """The number of samples that vote, by benchmark: as requested, or as many as every configuration has."""
    published: PublishedResults
    comparisons: list[RunComparison] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        folders: Sequence[Path],
        verifier: Verifier,
        published: PublishedResults,
        k: int | None = None,
        sides: tuple[str, str] | None = None,
    ) -> "EvaluationReport":
        """Compute the statistics of `folders`, and compare two sides of them (see `run_comparison.compare`).

        Raises:
            InvalidRequest: a folder is not an evaluation, there are fewer than `k` samples, or the sides have nothing
                in common.
            Unavailable: answers cannot be compared, see `Verifier`.
        """
        sample_sets = load_sample_sets(folders)
        for one in sample_sets:
            if k and 0 < one.max_k < k:
                raise InvalidRequest(f"k is {k}, but {one.label} has at most {one.max_k} samples per problem")
        judged = [pair for pair in zip(sample_sets, judge_problems(sample_sets, verifier), strict=True) if pair[1]]
        if not judged:
            raise InvalidRequest(f"nothing to report: no sample in {', '.join(map(str, folders))} has a verdict")
        comparisons = compare(sides, judged, k) if sides else []
        statistics = [summarize(sample_set, problems) for sample_set, problems in judged]
        ks = {
            benchmark: k or min(one.max_k for one in statistics if one.benchmark == benchmark)
            for benchmark in benchmark_names([sample_set for sample_set, _ in judged])
        }
        return cls(folders, sample_sets, statistics, ks, published, comparisons)

    @cached_property
    def tables(self) -> list[TextTable]:
        """All tables, the main results first."""
        families = breakdown_tables.family_table(self.statistics, self.ks)
        return [
            report_tables.main_results(self.statistics, self.ks, self.published),
            *breakdown_tables.difficulty_tables(self.statistics, self.ks),
            report_tables.accuracy(self.statistics, self.ks),
            *([families] if families else []),
            report_tables.output(self.statistics),
            report_tables.samples(self.statistics, self.ks),
            *([report_tables.comparison(self.comparisons)] if self.comparisons else []),
        ]

    @property
    def notes(self) -> list[str]:
        """Caveats on the statistics: lost samples, missing verdicts, and problems with fewer than k verdicts."""
        scored = {(one.configuration, one.benchmark) for one in self.statistics}
        found = [
            f"{one.label} has no statistics: {len(one.samples)} samples without a verdict, "
            f"{one.lost} lost to infrastructure failures"
            for one in self.sample_sets
            if (one.configuration, one.benchmark) not in scored
        ]
        for row in self.statistics:
            counts = {
                "samples lost to infrastructure failures (not counted)": row.lost,
                "samples without a verdict (not scored)": row.unjudged,
                "problems with fewer than k verdicts (scored by those they have)": row.problems_short_of(
                    self.ks[row.benchmark]
                ),
            }
            caveats = "; ".join(f"{count} {kind}" for kind, count in counts.items() if count)
            if caveats:
                found.append(f"{row.configuration} on {row.benchmark}: {caveats}")
        return found

    def write(self, folder: Path, max_traces: int) -> None:
        """Write tables (Markdown, CSV), plots (PNG, SVG) and the HTML page with up to `max_traces` traces per row.

        Raises:
            InvalidRequest: `folder` is not writable.
        """
        from deepmath.evaluation import report_plots  # here because matplotlib takes a second to import

        try:
            plots = report_plots.write_plots(self.statistics, self.ks, self.published, folder / "plots")
            files = {
                "table.md": self.markdown(plots),
                "table.csv": report_tables.all_statistics(self.statistics, self.ks, self.published).csv(),
                "curves.csv": report_tables.curves(self.statistics).csv(),
                "report.html": self._html(plots, max_traces),
            }
            if (groups := breakdown_tables.all_groups(self.statistics, self.ks)).rows:
                files["groups.csv"] = groups.csv()
            if self.comparisons:
                files["comparison.csv"] = report_tables.compared_problems(self.comparisons).csv()
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8", errors="replace")  # lone surrogates
        except OSError as error:
            raise InvalidRequest(
                f"cannot write to {folder}: {error.strerror}; choose another folder with --output"
            ) from None

    def markdown(self, plots: Mapping[str, Path]) -> str:
        """Return `table.md`: the main results and `plots`, by title, of them; all other tables; the published texts."""
        first, *others = self.tables
        intervals = "Brackets are 95 % bootstrap intervals over problems."
        if any(row.published for row in first.rows):
            intervals += " Rows in italics are published results; the end of this page names their source."
        pictures = "".join(f"![{markdown_text(title)}](plots/{path.name})\n" for title, path in leading(plots).items())
        caveats = "".join(f"- {markdown_text(note)}\n" for note in self.notes)
        sections = [_section(first), f"{intervals}\n", caveats, pictures, *map(_section, others)]
        return "\n".join(filter(None, [*sections, self._published()]))

    def _published(self) -> str:
        """Return the source and the claims of the published results, folded."""
        if not self.published.source:
            return ""
        source = f"Source: {markdown_text(self.published.source)}. {markdown_text(self.published.note)}\n"
        claims = [f"> {markdown_text(text)} ({markdown_text(source)})\n" for text, source in self.published.claims]
        return _folded("Published results: source and quotations", "\n".join([source, *claims]))

    def _html(self, plots: dict[str, Path], max_traces: int) -> str:
        groups = [
            TraceGroup(one.configuration, one.benchmark, one.folder, len(one.samples), own)
            for one, own in zip(self.sample_sets, select_traces(self.sample_sets, max_traces), strict=True)
        ]
        runs = {str(folder): read_settings(folder) for folder in self.folders}
        return render(runs, self.tables, self.notes, plots, self.comparisons, self.published, groups)


def _section(table: TextTable) -> str:
    if table.folded:
        return _folded(table.title, table.markdown())
    return f"## {markdown_text(table.title)}\n\n{table.markdown()}"


def _folded(title: str, text: str) -> str:
    """Return Markdown that GitHub shows when the reader opens `title`, a plain text of this module's."""
    return f"<details>\n<summary>{title}</summary>\n\n{text}\n</details>\n"
