"""The style sheet of the page: light and dark, for phones, screens and paper."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #171b20; --soft: #58626e; --line: #e0e4e9; --wash: #f5f7f9;
  --accent: #1b5fa6; --gain: #2a74b8; --loss: #b85a1e; --first: #8b95a1; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #13161a; --ink: #e6e9ed; --soft: #a2acb8; --line: #2c323a; --wash: #1b2026;
  --accent: #7ab3f0; --gain: #64a6e8; --loss: #e2955a; --first: #7f8a97; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); line-height: 1.5; font-size: 1rem;
  font-family: -apple-system, "Segoe UI", Inter, Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
main { max-width: 78rem; margin: 0 auto; padding: clamp(1.5rem, 4vw, 3.5rem) clamp(1rem, 4vw, 3rem) 4rem; }
h1, h2, h3, p, figure, dl, dd, table, pre { margin: 0; }
h1 { font-size: clamp(1.75rem, 5vw, 2.6rem); line-height: 1.15; font-weight: 650; letter-spacing: -.02em;
  overflow-wrap: anywhere; }
h2 { font-size: 1.0625rem; line-height: 1.4; font-weight: 650; }
h3 { font-size: 1rem; font-weight: 600; }
.kind { color: var(--soft); font-size: .875rem; margin-bottom: .35rem; }
.lede { font-size: clamp(1.0625rem, 2.2vw, 1.3125rem); line-height: 1.45; margin-top: 1.25rem; max-width: 46em; }
.note, .missing, figcaption, caption { color: var(--soft); font-size: .875rem; }
.note { max-width: 60em; }
.missing { font-style: italic; }
section { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.25rem; display: grid; gap: 1rem; }
section > div { display: grid; gap: 1.5rem; min-width: 0; }
@media (min-width: 64rem) { section { grid-template-columns: 9.5rem minmax(0, 1fr); gap: 2rem; } }
.pair { display: grid; gap: 2rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
.pair > * { min-width: 0; display: grid; gap: 1.25rem; align-content: start; }
.curves { display: grid; gap: 1.75rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(17rem, 100%), 1fr)); }
.tiles { display: grid; gap: 1rem; grid-template-columns: repeat(3, minmax(0, 1fr)); margin-top: 1.75rem;
  max-width: 46rem; }
.tiles > div { border-top: 3px solid var(--first); padding-top: .6rem; }
.tiles > .better { border-color: var(--gain); }
.tiles > .worse { border-color: var(--loss); }
.tiles b { display: block; font-size: clamp(1.375rem, 4.5vw, 2.125rem); font-weight: 600; line-height: 1.25;
  letter-spacing: -.01em; }
.tiles span { display: block; color: var(--soft); font-size: .875rem; }
table { border-collapse: collapse; width: 100%; font-size: .875rem; }
caption { text-align: left; padding-bottom: .5rem; }
caption b { color: var(--ink); font-weight: 600; font-size: 1rem; }
th, td { padding: .3rem 0 .3rem .6rem; text-align: right; vertical-align: baseline; font-weight: 400; }
th, .words { white-space: nowrap; }
th:first-child, td:first-child { padding-left: 0; text-align: left; }
th.words, td.words { text-align: left; }
thead th { color: var(--soft); font-size: .8125rem; border-bottom: 1px solid var(--line); }
tbody th.metric { font-weight: 600; padding-top: .75rem; }
b, td, .tiles, dd, code { font-variant-numeric: tabular-nums; }
td.number, td a { white-space: nowrap; }
.better { color: var(--gain); } .worse { color: var(--loss); } .same { color: var(--soft); }
.tiles > div { color: var(--ink); } .tiles .better { color: var(--gain); } .tiles .worse { color: var(--loss); }
.id { display: block; color: var(--soft); font-size: .8125rem; word-break: break-all; }
.rankings { display: grid; gap: 2rem; }
.ranking { table-layout: fixed; } .ranking th, .ranking td { text-align: left; white-space: normal; }
.ranking th:first-child { width: 1.75rem; } .ranking td { overflow-wrap: anywhere; }
.ranking td span { display: block; }
.ranking caption { color: var(--ink); font-size: 1rem; }
.warnings { margin-top: 1.5rem; } .warnings ul { margin: .5rem 0 0; padding-left: 1.1rem; font-size: .875rem; }
.warnings li { overflow-wrap: anywhere; } .warnings summary { color: var(--loss); }
.query { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
svg { display: block; width: 100%; }
.chart { max-width: 19rem; height: auto; overflow: visible; }
.chart text { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.chart .left { text-anchor: end; } .chart .below { text-anchor: middle; }
.grid { stroke: var(--line); stroke-width: 1; }
.zero { stroke: var(--soft); stroke-width: 1; }
.first { stroke: var(--first); stroke-width: 1.5; stroke-dasharray: 5 4; }
.curve { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dot { fill: var(--accent); }
.best { fill: var(--paper); stroke: var(--accent); stroke-width: 2.5; }
path.gain, rect.gain { fill: var(--gain); } path.loss, rect.loss { fill: var(--loss); }
rect.tie { fill: var(--line); } rect.part { fill: var(--accent); } rect.rest { fill: var(--wash); }
.shares { height: .75rem; }
td.bar { width: 40%; min-width: 5rem; vertical-align: middle; }
figcaption span { display: inline-block; margin-right: .75em; }
.key { display: inline-block; width: 1.25em; height: .6em; vertical-align: baseline; margin-right: .15em; }
.key .first, .key .best { vector-effect: non-scaling-stroke; }
figcaption b { color: var(--ink); font-weight: 600; font-size: .9375rem; display: block; }
figure { display: grid; gap: .5rem; grid-template-columns: minmax(0, 1fr); align-content: start; min-width: 0; }
.curves figure { grid-row: span 2; grid-template-rows: subgrid; }
.facts { display: grid; gap: .75rem 2rem; grid-template-columns: repeat(auto-fill, minmax(min(10.5rem, 45%), 1fr)); }
.facts dt { color: var(--soft); font-size: .8125rem; }
.facts dd { overflow-wrap: anywhere; font-size: .9375rem; }
header .facts { margin-top: 1.75rem; }
figure .facts { grid-template-columns: repeat(3, auto); gap: .75rem; } figure .facts dd { white-space: nowrap; }
pre { background: var(--wash); border-radius: 6px; padding: .85rem 1rem; overflow-x: auto; font-size: .875rem;
  line-height: 1.55; }
code, pre { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "Liberation Mono", monospace; }
pre.wrap { white-space: pre-wrap; overflow-wrap: anywhere; }
pre .same { font-style: normal; }
details summary { cursor: pointer; color: var(--accent); font-size: .875rem; }
details > * + * { margin-top: .75rem; }
a { color: var(--accent); }
.narrow { display: none; }
@media screen and (max-width: 36rem) {
  table { font-size: .8125rem; } thead th { font-size: .75rem; } pre { font-size: .75rem; } .narrow { display: inline; }
  .stages tr { display: grid; grid-template-columns: 1.6fr repeat(4, 1fr); } .stages thead .words { display: none; }
  .stages td.words, .stages th.metric { grid-column: 1 / -1; } .stages td.words { text-align: right; padding-top: 0; }
  .stages td { padding-left: 0; padding-bottom: .15rem; }
  .changes tr { display: grid; grid-template-columns: repeat(3, 1fr); }
  .changes tbody tr { border-bottom: 1px solid var(--line); padding: .25rem 0; }
  .changes th:first-child, .changes td:first-child { grid-column: 1 / -1; padding-bottom: 0; }
  .changes thead th:first-child { display: none; }
  .changes td:nth-child(2), .changes th:nth-child(2) { text-align: left; padding-left: 0; }
  .changes td:nth-child(3), .changes th:nth-child(3) { text-align: center; } }
@media print { :root { color-scheme: light;
  --paper: #ffffff; --ink: #000000; --soft: #444b54; --line: #ccd1d7; --wash: #ffffff;
  --accent: #1b5fa6; --gain: #2a74b8; --loss: #b85a1e; --first: #8b95a1; }
  @page { margin: 16mm 14mm; }
  body { font-size: 10pt; } main { padding: 0; max-width: none; }
  section, section > div, .pair, .pair > *, .curves { display: block; }
  section { margin-top: 1.25rem; } section > div > *, .pair > * > * { margin-top: .75rem; }
  .scroll { overflow: visible; } .chart { max-width: 22rem; }
  .curves figure { display: inline-block; width: 48%; margin: 0 1% 1rem 0; vertical-align: top; }
  figure, tr, .stages tbody, .tiles, dl > div { break-inside: avoid; }
  h2, h3, caption, thead { break-after: avoid; }
  pre { border: 1px solid var(--line); white-space: pre-wrap; overflow-wrap: anywhere; }
  details:not([open]) { display: none; } }
"""
