"""All that is said of runs: figures, tables, plots, traces; as files in a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepmath.errors import InvalidRequest
from deepmath.evaluation import report_tables
from deepmath.evaluation.answer_classes import judge
from deepmath.evaluation.evaluation_run import settings
from deepmath.evaluation.html_report import TraceGroup, render
from deepmath.evaluation.published_results import Published
from deepmath.evaluation.run_comparison import RunComparison, compare
from deepmath.evaluation.sample_records import SampleRecord, benchmarks, load
from deepmath.evaluation.summary_statistics import SummaryStatistics, figures
from deepmath.evaluation.text_table import TextTable
from deepmath.evaluation.trace_selection import traces
from deepmath.grading.verifier import Verifier


@dataclass(frozen=True)
class EvaluationReport:
    """The figures of all that is in the folders, and what they are made of."""

    folders: Sequence[Path]
    records: list[SampleRecord]
    figures: list[SummaryStatistics]
    ks: dict[str, int]
    """How many samples vote, by benchmark: what was asked for, or as many as every configuration has."""
    published: Published
    comparisons: list[RunComparison] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        folders: Sequence[Path],
        verifier: Verifier,
        published: Published,
        k: int | None = None,
        sides: tuple[str, str] | None = None,
    ) -> "EvaluationReport":
        """Score what is in `folders`, and compare two sides of it (see `comparison.compare`).

        Raises:
            InvalidRequest: a folder is no evaluation, there are fewer than `k` samples, or the sides have nothing in
                common.
            Unavailable: math-verify, which compares answers, cannot be loaded.
        """
        records = load(folders)
        for record in records:
            if k and 0 < record.drawn < k:
                raise InvalidRequest(f"k is {k}, but {record.label} has {record.drawn} samples of a problem at most")
        rows = [row for row in zip(records, judge(records, verifier), strict=True) if row[1]]
        if not rows:
            raise InvalidRequest(
                f"no sample in {', '.join(map(str, folders))} has a verdict; there is nothing to report"
            )
        comparisons = compare(sides, rows, k) if sides else []
        counted = [figures(record, problems) for record, problems in rows]
        ks = {
            benchmark: k or min(one.drawn for one in counted if one.benchmark == benchmark)
            for benchmark in benchmarks([record for record, _ in rows])
        }
        return cls(folders, records, counted, ks, published, comparisons)

    @property
    def tables(self) -> list[TextTable]:
        """The seeds' table first."""
        found = [
            report_tables.results(self.figures, self.ks, self.published),
            report_tables.accuracy(self.figures, self.ks),
            report_tables.output(self.figures),
            report_tables.samples(self.figures, self.ks),
        ]
        return [*found, report_tables.comparison(self.comparisons)] if self.comparisons else found

    @property
    def notes(self) -> list[str]:
        """What a reader of the figures has to know of them."""
        scored = {(one.configuration, one.benchmark) for one in self.figures}
        found = [
            f"{one.label} has no figures: {len(one.samples)} samples without a verdict, {one.lost} lost by our faults"
            for one in self.records
            if (one.configuration, one.benchmark) not in scored
        ]
        for row in self.figures:
            apart = {
                "samples failed by faults of ours and are in no figure": row.lost,
                "samples could not be compared in time and have no score": row.unjudged,
                "problems have fewer than k scores and are judged by those they have": row.short_of(
                    self.ks[row.benchmark]
                ),
            }
            told = "; ".join(f"{count} {what}" for what, count in apart.items() if count)
            if told:
                found.append(f"{row.configuration} on {row.benchmark}: {told}")
        return found

    def write(self, folder: Path, most_traces: int) -> None:
        """Write tables (Markdown, CSV), plots (PNG, SVG) and the page with `most_traces` traces of each row.

        Raises:
            InvalidRequest: it cannot be written to `folder`.
        """
        from deepmath.evaluation import report_plots  # matplotlib takes a second to load, and who made a mistake none

        try:
            pictures = report_plots.draw(self.figures, self.ks, self.published, folder / "plots")
            files = {
                "table.md": self._markdown(),
                "table.csv": report_tables.everything(self.figures, self.ks, self.published).csv(),
                "curves.csv": report_tables.curves(self.figures).csv(),
                "report.html": self._page(pictures, most_traces),
            }
            if self.comparisons:
                files["comparison.csv"] = report_tables.compared_problems(self.comparisons).csv()
            for name, text in files.items():
                (folder / name).write_text(text, encoding="utf-8", errors="replace")  # lone surrogates
        except OSError as error:
            raise InvalidRequest(
                f"cannot write to {folder}: {error.strerror}; give another folder by --output"
            ) from None

    def _markdown(self) -> str:
        sections = [f"## {table.title}\n\n{table.markdown()}" for table in self.tables]
        sections.insert(1, "Brackets are 95 % intervals, bootstrapped over problems.\n")
        if self.published.source:
            sections.insert(
                2, f"In italics what is not ours. Published by: {self.published.source}. {self.published.note}\n"
            )
        sections += [f"> {text} ({source})\n" for text, source in self.published.claims]
        sections += ["".join(f"- {note}\n" for note in self.notes)] if self.notes else []
        return "\n".join(sections)

    def _page(self, pictures: dict[str, Path], most_traces: int) -> str:
        groups = [
            TraceGroup(record.configuration, record.benchmark, record.folder, len(record.samples), own)
            for record, own in zip(self.records, traces(self.records, most_traces), strict=True)
        ]
        runs = {str(folder): settings(folder) for folder in self.folders}
        return render(runs, self.tables, self.notes, pictures, self.comparisons, self.published, groups)
