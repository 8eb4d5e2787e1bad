// Charts, drawn by Chart.js (chart.js). Colours come from the style sheet, so that they follow light and dark.

import {h, count, moment} from "./dom.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

let charts = [];
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((one) => one.paint()));

/** Forgets the charts of the view before. */
export function clearCharts() {
  charts.forEach((one) => one.chart.destroy());
  charts = [];
}

function labels(summary) {
  const first = new Date(summary.since).getTime();
  return summary.allowed.map((_, i) => first + i * summary.step_s * 1000);
}

function tick(at, step) {
  const date = new Date(at);
  const pad = (value) => String(value).padStart(2, "0");
  if (step >= 86400 || (date.getHours() === 0 && date.getMinutes() === 0))
    return date.toLocaleDateString(undefined, {day: "numeric", month: "short"});
  return `${pad(date.getHours())}:${pad(date.getMinutes())}`;
}

const series = {
  allowed: {label: "Allowed", colour: "--allowed"},
  denied: {label: "Denied", colour: "--denied"},
};

function options(times, step) {
  const axis = {stacked: true, ticks: {color: colour("--quiet")}, grid: {color: colour("--line"), borderColor: "transparent"}};
  return {
    responsive: true,
    maintainAspectRatio: false,
    animation: false,
    interaction: {mode: "index", intersect: false},
    layout: {padding: 0},
    plugins: {
      legend: {display: false},
      tooltip: {
        padding: 10,
        boxPadding: 4,
        backgroundColor: colour("--ink"),
        titleColor: colour("--paper"),
        bodyColor: colour("--paper"),
        callbacks: {
          title: ([item]) => `${moment(times[item.dataIndex], {seconds: false})} – ${moment(times[item.dataIndex] + step * 1000, {seconds: false}).slice(11)}`,
          label: (item) => ` ${item.dataset.label}: ${count(item.raw)}`,
        },
      },
    },
    scales: {
      x: {...axis, grid: {...axis.grid, display: false}, ticks: {...axis.ticks, maxRotation: 0, autoSkipPadding: 22, callback: (_, i) => tick(times[i], step)}},
      y: {...axis, beginAtZero: true, grid: {...axis.grid, drawTicks: false}, ticks: {...axis.ticks, precision: 0, padding: 8, maxTicksLimit: 5}},
    },
  };
}

/** The numbers of the chart as a table, for those who do not see it. */
function numbers(times, summary, names) {
  const rows = times.map((at, i) => [at, ...names.map((name) => summary[name][i])]).filter((row) => row.slice(1).some((n) => n > 0));
  return h("details", {class: "numbers"},
    h("summary", {}, "The numbers of this chart"),
    h("div", {class: "scroll"}, h("table", {},
      h("caption", {class: "visually-hidden"}, "Statements over time"),
      h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "From"), names.map((name) => h("th", {scope: "col", class: "number"}, series[name].label)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, h("th", {scope: "row", "data-head": "From"}, moment(row[0], {seconds: false})),
        row.slice(1).map((n, i) => h("td", {class: "number", "data-head": series[names[i]].label}, count(n)))))))));
}

/** Bars over time. `names` are keys of the summary: allowed, denied. Put it into the page, then call its draw(). */
export function timeChart(summary, names, title) {
  const times = labels(summary);
  const canvas = h("canvas", {role: "img", "aria-label": `${title}: ${names.map((name) => `${series[name].label.toLowerCase()} ${count(summary[name].reduce((a, b) => a + b, 0))}`).join(", ")}. The numbers follow as a table.`});
  const figure = h("figure", {class: "chart"},
    h("figcaption", {}, h("h2", {}, title), h("ul", {class: "legend"}, names.map((name) => h("li", {class: name}, series[name].label)))),
    h("div", {class: "canvas"}, canvas), numbers(times, summary, names));
  const make = () => new Chart(canvas, {
    type: "bar",
    data: {
      labels: times,
      datasets: names.map((name) => ({
        label: series[name].label, data: summary[name], backgroundColor: colour(series[name].colour), hoverBackgroundColor: colour(series[name].colour),
        borderRadius: 2, maxBarThickness: 26, categoryPercentage: 0.86, barPercentage: 0.94,
      })),
    },
    options: options(times, summary.step_s),
  });
  figure.draw = () => {
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 12;
    const one = {chart: make()};
    one.paint = () => {
      one.chart.destroy();
      one.chart = make();
    };
    charts.push(one);
  };
  return figure;
}
