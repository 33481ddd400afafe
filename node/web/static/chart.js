// The price chart of the market's page, drawn from the table below it; without this the table says the same.

const place = document.getElementById("price-chart");
const UEUR_PER_EUR = 1_000_000;
const HOUR_MS = 3_600_000;

function number(text) {
  return text === "" ? null : Number(text) / UEUR_PER_EUR;
}

function series() {
  const rows = [...document.querySelectorAll("#slots tbody tr[data-start]")];
  const start = rows.map((row) => row.dataset.start);
  const of = (name) => rows.map((row) => number(row.dataset[name]));
  return { start, bid: of("bid"), ask: of("ask"), hub: of("hub") };
}

// One slot alone would be spread over a millisecond.
function around(start) {
  if (start.length !== 1) return {};
  const at = Date.parse(start[0]);
  return { range: [new Date(at - HOUR_MS).toISOString(), new Date(at + HOUR_MS).toISOString()] };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function draw() {
  const { start, bid, ask, hub } = series();
  if (![...bid, ...ask, ...hub].some((each) => each !== null)) {
    place.hidden = true;
    return;
  }
  place.hidden = false;
  const trace = (y, name, line, symbol) => ({ x: start, y, name, line, marker: { symbol, size: 7 }, mode: "lines+markers" });
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zeroline: false };
  Plotly.react(
    place,
    [
      trace(ask, "best ask", { color: colour("--ask"), dash: "dot" }, "triangle-down"),
      trace(bid, "best bid", { color: colour("--bid"), dash: "dash" }, "triangle-up"),
      trace(hub, "hub price", { color: colour("--link") }, "circle"),
    ],
    {
      margin: { t: 8, r: 8, b: 40, l: 64 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily },
      xaxis: { ...axis, type: "date", ...around(start) },
      yaxis: { ...axis, title: { text: "€/kWh" }, rangemode: "tozero" },
      legend: { orientation: "h", y: 1.12 },
    },
    { displayModeBar: false, responsive: true },
  );
}

function load() {
  const script = document.createElement("script");
  script.src = "/static/plotly.min.js";
  script.addEventListener("load", () => {
    draw();
    document.addEventListener("renewed", draw);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  });
  document.head.append(script);
}

if (document.querySelector("#slots tbody tr[data-start]")) load();
