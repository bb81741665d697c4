// Draws the server's figures over time once more with uPlot, so that values can be read at the pointer.
(() => {
  "use strict";
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const clock = (moment, seconds) => new Date(moment * 1000).toISOString().slice(11, seconds ? 19 : 16);
  const draw = (place) => {
    if (place.dataset.drawn || !window.uPlot) return;
    const { at, values, label } = JSON.parse(place.dataset.series);
    if (at.length < 2) return;
    place.dataset.drawn = "yes";
    const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line") } };
    const size = () => ({ width: Math.max(260, place.clientWidth), height: 190 });
    const drawn = document.createElement("div");
    drawn.setAttribute("aria-hidden", "true"); // the title of the server's picture and the table say it
    const still = place.querySelector("svg");
    still.classList.add("only-read-out");
    place.append(drawn);
    const plot = new uPlot({
      ...size(), tzDate: (moment) => uPlot.tzDate(new Date(moment * 1000), "UTC"),
      scales: { y: { range: (u, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
      axes: [{ ...axis, values: (u, moments) => moments.map((one) => clock(one)) }, { ...axis, size: 58 }],
      series: [{ label: "UTC", value: (u, one) => one === null ? "–" : clock(one, true) }, { label, stroke: colour("--first"), width: 2 }],
    }, [at, values], drawn);
    new ResizeObserver(() => plot.setSize(size())).observe(place);
  };
  const all = () => document.querySelectorAll("[data-series]").forEach(draw);
  all();
  document.addEventListener("htmx:after:swap", all);
})();
