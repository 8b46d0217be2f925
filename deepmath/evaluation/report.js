const fields = [...document.getElementById("filters").elements].filter((field) => field.name);
const traces = [...document.querySelectorAll(".trace")];
function show() {
  for (const trace of traces) {
    trace.hidden = !fields.every(({ name, value }) =>
      name === "problem" ? trace.dataset.problem.includes(value) : !value || trace.dataset[name] === value);
  }
  document.getElementById("shown").textContent = traces.filter((trace) => !trace.hidden).length + " traces";
}
document.getElementById("filters").addEventListener("input", show);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
show();
