"""How the page looks: in light and dark, on paper, on a telephone."""

from __future__ import annotations

from typing import Final

# The colours of states are told apart in all common kinds of colour blindness (after Okabe and Ito)
# and stand out from both backgrounds; height and pattern tell them apart without colour.
STYLE: Final = """\
:root { color-scheme: light dark;
  --back: #fff; --fore: #1b1f24; --soft: #57606a; --edge: #d0d7de; --card: #f6f8fa;
  --up: #00805f; --degraded: #b35c00; --degraded-soft: #ffd8a8; --down: #b3001b;
  --unreachable: #7b3294; --unreachable-soft: #e7d4ee; --unknown: #6e7781; --paused: #0969da;
  --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root {
  --back: #0d1117; --fore: #e6edf3; --soft: #9aa5b1; --edge: #30363d; --card: #161b22;
  --up: #2fbf93; --degraded: #ffb454; --degraded-soft: #5a3a00; --down: #ff6b6b;
  --unreachable: #d49be8; --unreachable-soft: #4a2657; --unknown: #8b949e; --paused: #6cb6ff;
  --link: #79c0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--fore);
  font: 16px/1.45 system-ui, sans-serif; }
main { max-width: 80rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { margin: .25rem 0 .75rem; max-width: 60rem; }
a { color: var(--link); }
a:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
.soft { color: var(--soft); font-size: .9rem; }
.defs { position: absolute; }
nav ul, .legend, .facts, .quiet { list-style: none; margin: 0; padding: 0; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: .5rem 0 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: .75rem;
  margin: 1.25rem 0; }
.cards div { background: var(--card); border: 1px solid var(--edge); border-radius: .5rem;
  padding: .6rem .8rem; }
.cards dt { color: var(--soft); font-size: .85rem; }
.cards dd { margin: 0; font-size: 1.35rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1.25rem; margin: .5rem 0; font-size: .9rem; }
.legend li { display: flex; align-items: center; gap: .4rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); font-size: .9rem; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .6rem .35rem 0;
  border-bottom: 1px solid var(--edge); }
thead th { font-size: .85rem; color: var(--soft); vertical-align: bottom; white-space: nowrap; }
tbody th { font-weight: 600; overflow-wrap: anywhere; min-width: 6rem; }
td.n, th.n { text-align: right; white-space: nowrap; }
.lines .n { padding: .35rem .25rem .35rem .5rem; }
.lines .w { padding-left: .75rem; }
.outages .n { padding-right: 1.25rem; }
.outages .wide { width: 45%; }
td.t { white-space: nowrap; }
.before { display: block; white-space: normal; }
.lines tbody th { min-width: 13rem; }
.lines td.w { width: 34%; min-width: 15rem; padding-right: 0; }
.axis { display: flex; justify-content: space-between; font-weight: 400; }
svg { display: block; }
td.share { min-width: 8rem; }
svg.line, svg.share-bar { width: 100%; overflow: hidden; }
.labels { display: block; font-weight: 400; font-size: .8rem; color: var(--soft); }
.facts { font-size: .85rem; color: var(--soft); overflow-wrap: anywhere; }
.state { white-space: nowrap; font-weight: 600; }
.state.down { color: var(--down); } .state.unreachable { color: var(--unreachable); }
.quiet { columns: 14rem; column-gap: 1.5rem; font-size: .9rem; }
.quiet li { overflow-wrap: anywhere; break-inside: avoid; }
.up { fill: var(--up); } .down { fill: var(--down); } .left { fill: var(--paused); }
.degraded { fill: url(#degraded); } .unreachable { fill: url(#unreachable); }
.unknown { fill: url(#unknown); } .paused { fill: url(#paused); }
.unwatched { fill: var(--unknown); }
.degraded-back { fill: var(--degraded-soft); } .unreachable-back { fill: var(--unreachable-soft); }
.degraded-line, .unreachable-line { fill: none; stroke-width: 2; }
.degraded-line { stroke: var(--degraded); } .unreachable-line { stroke: var(--unreachable);
  stroke-width: 1.2; }
.unknown-dot { fill: var(--unknown); } .paused-line { fill: var(--paused); }
.bar { fill: var(--soft); }
@media screen and (max-width: 45rem) {
  .lines, .lines tbody, .outages, .outages tbody { display: block; }
  .lines thead, .outages thead { position: absolute; clip-path: inset(50%); height: 1px; width: 1px;
    overflow: hidden; }
  .lines tr, .outages tr { display: grid; grid-template-columns: repeat(3, 1fr);
    gap: .1rem .75rem; padding: .6rem 0; border-bottom: 1px solid var(--edge); }
  .lines tbody th, .lines tbody td, .outages th, .outages td { border: 0; padding: 0;
    text-align: left; min-width: 0; }
  .lines th, .outages th, .outages td.t { grid-column: 1 / 3; }
  .lines tbody th { min-width: 0; } .lines tbody .n, .lines tbody .w { padding: 0; }
  .lines td.w, .outages .wide { grid-column: 1 / -1; width: auto; min-width: 0; }
  .outages th { order: -2; } .outages td.state { order: -1; }
  .outages td.state::before { display: none !important; }
  .lines td[data-label]::before, .outages td[data-label]::before { content: attr(data-label);
    display: block; color: var(--soft); font-size: .75rem; }
  .causes .share, .causes .meaning { display: none; }
  .causes th { min-width: 0; } .causes td, .causes th { padding-right: .4rem; white-space: normal; }
}
@media print {
  :root { color-scheme: light; font-size: 11px;
    --back: #fff; --fore: #000; --soft: #444; --edge: #999; --card: #fff;
    --up: #00805f; --degraded: #b35c00; --degraded-soft: #ffd8a8; --down: #b3001b;
    --unreachable: #7b3294; --unreachable-soft: #e7d4ee; --unknown: #6e7781; --paused: #0969da; }
  body { font-size: 1rem; } main { max-width: none; padding: 0; } nav { display: none; }
  tr, li, .cards div { break-inside: avoid; } thead { display: table-header-group; }
  h2 { break-after: avoid; margin-top: 1rem; } th, td { padding: .15rem .4rem .15rem 0; }
  .lines tbody th { min-width: 6rem; } .lines td.w { min-width: 10rem; }
  .lines .n { padding-left: .3rem; } .causes .share { display: none; }
}
"""
