/**
 * Draws lines over the seconds of a run as an SVG that stands by itself and follows the reader's light or dark mode. Pure: it writes no
 * file, and the same numbers give the same text.
 */

/** One line of a panel. */
export interface Line {
  readonly name: string;
  /** One value for each second. */
  readonly values: readonly number[];
}

/** A panel with its lines; panels stand one below the other and share their seconds. */
export interface Panel {
  readonly title: string;
  /** Value at the upper edge; the lower edge is 0. */
  readonly top: number;
  /** Values with a line across and a number at the left. */
  readonly ticks: readonly number[];
  readonly lines: readonly Line[];
}

/** The picture. */
export interface Picture {
  /** Read to those who cannot see it. */
  readonly description: string;
  readonly panels: readonly Panel[];
  /** A span of seconds that is shaded in all panels, and what it is. */
  readonly shaded: { readonly from: number; readonly to: number; readonly label: string };
  readonly seconds: number;
}

const width = 760;
const panelHeight = 170;
const margin = { left: 48, right: 12, top: 26, gap: 44, bottom: 58 };
const plotWidth = width - margin.left - margin.right;

/** Eight colours that can be told apart by most readers on white and on black (Okabe and Ito, less yellow and black). */
const colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"];

/** The picture as the text of an SVG file. */
export function drawSvg({ description, panels, shaded, seconds }: Picture): string {
  const height = margin.top + panels.length * (panelHeight + margin.gap) - margin.gap + margin.bottom;
  const x = (second: number) => margin.left + (second / seconds) * plotWidth;
  const parts = panels.map((panel, at) => {
    const upperEdge = margin.top + at * (panelHeight + margin.gap);
    return drawPanel(panel, upperEdge, x, shaded, at === 0);
  });
  const names = panels[0]?.lines.map(({ name }) => name) ?? [];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(description)}">`,
    "<style>text{font:12px system-ui,sans-serif;fill:#24292f}.grid{stroke:#d0d7de}.shade{fill:#818b98;opacity:.18}" +
      "polyline{fill:none;stroke-width:1.6;stroke-linejoin:round}" +
      "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}}</style>",
    ...parts,
    drawSeconds(seconds, x, height - margin.bottom + 16),
    drawLegend(names, height - 14),
    "</svg>\n",
  ].join("\n");
}

function drawPanel(
  { title, top, ticks, lines }: Panel,
  upperEdge: number,
  x: (second: number) => number,
  shaded: Picture["shaded"],
  labelled: boolean,
): string {
  const y = (value: number) => upperEdge + panelHeight * (1 - Math.min(value, top) / top);
  const shadeWidth = x(shaded.to) - x(shaded.from);
  return [
    `<text x="${margin.left}" y="${upperEdge - 9}" font-weight="600">${escaped(title)}</text>`,
    `<rect class="shade" x="${point(x(shaded.from))}" y="${upperEdge}" width="${point(shadeWidth)}" height="${panelHeight}"/>`,
    ...(labelled
      ? [
          `<text x="${point(x(shaded.from) + shadeWidth / 2)}" y="${upperEdge - 9}" text-anchor="middle">${escaped(shaded.label)}</text>`,
        ]
      : []),
    ...ticks.map(
      (tick) =>
        `<path class="grid" d="M${margin.left} ${point(y(tick))}H${width - margin.right}"/>` +
        `<text x="${margin.left - 6}" y="${point(y(tick) + 4)}" text-anchor="end">${tick}</text>`,
    ),
    ...lines.map(({ values }, at) => {
      const points = values.map((value, second) => `${point(x(second + 0.5))},${point(y(value))}`);
      return `<polyline stroke="${colours[at % colours.length]}" points="${points.join(" ")}"/>`;
    }),
  ].join("\n");
}

function drawSeconds(seconds: number, x: (second: number) => number, y: number): string {
  const marks: string[] = [];
  for (let second = 0; second <= seconds; second += 15) {
    const anchor = second === 0 ? "start" : second === seconds ? "end" : "middle";
    marks.push(`<text x="${point(x(second))}" y="${y}" text-anchor="${anchor}">${second} s</text>`);
  }
  return marks.join("");
}

function drawLegend(names: readonly string[], y: number): string {
  const step = plotWidth / Math.max(1, names.length);
  return names
    .map((name, at) => {
      const left = margin.left + at * step;
      return (
        `<path stroke="${colours[at % colours.length]}" stroke-width="3" d="M${point(left)} ${y - 4}h16"/>` +
        `<text x="${point(left + 21)}" y="${y}">${escaped(name)}</text>`
      );
    })
    .join("");
}

function point(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
