"""The report's style sheet: one accent colour, light and dark, narrow screens, paper."""

__all__ = ["CSS"]

_LIGHT = (
    "--page:#fff;--soft:#f5f6f7;--rule:#dfe3e7;--text:#1c2126;--quiet:#59636e;--accent:#0b5fa5;"
    "--warn:#8a4b00;--c0:#1f6fb4;--c1:#c4511a;--c2:#267a4c;--c3:#8048ab;--c4:#b8336a;--c5:#77661a;"
    "--c6:#177a88;--c7:#63686f;--on:#fff"
)
_DARK = (
    "--page:#14171a;--soft:#1d2226;--rule:#343b42;--text:#e6e9ec;--quiet:#a4aeb8;--accent:#7cb8f2;"
    "--warn:#f0b46a;--c0:#6db3f2;--c1:#f0935c;--c2:#63c78f;--c3:#c396ea;--c4:#ee7fae;--c5:#d0bd62;"
    "--c6:#5cc6d4;--c7:#b0b5bd;--on:#14171a"
)
_COLOURS = "".join(
    f".s{i}{{stroke:var(--c{i})}}.k{i}{{fill:var(--c{i});background:var(--c{i})}}"
    f".t{i}{{fill:var(--c{i});font-weight:600;paint-order:stroke;stroke:var(--page);stroke-width:3px}}"
    for i in range(8)
)

CSS = f"""
:root{{color-scheme:light dark;{_LIGHT}}}
@media (prefers-color-scheme:dark){{:root{{{_DARK}}}}}
*{{box-sizing:border-box}}
html{{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}}
body{{margin:0;background:var(--page);color:var(--text);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;
overflow-wrap:anywhere}}
main,header,footer{{max-width:76rem;margin:0 auto;padding:0 1.25rem}}
header{{padding-top:2.5rem}}
h1{{font-size:1.9rem;line-height:1.2;margin:0 0 .4rem;font-weight:650;letter-spacing:-.01em}}
h2{{font-size:1.3rem;line-height:1.3;margin:3.2rem 0 .9rem;font-weight:650}}
h3{{font-size:1rem;margin:0;font-weight:600;line-height:1.4}}
h3.apart{{margin:2rem 0 .8rem}}
p{{margin:.4rem 0 1rem;max-width:46rem}}
a{{color:var(--accent);text-underline-offset:.15em}}
nav{{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;margin-top:1rem}}
nav a{{padding:.25rem 0}}
.quiet,figcaption{{color:var(--quiet)}}
.quiet{{font-weight:400;font-size:.9em}}
.unseen{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);
white-space:nowrap}}
.mark{{display:inline-block;min-width:1.55em;padding:0 .35em;border-radius:.3em;color:var(--on);
font-size:.78em;font-weight:600;line-height:1.55;text-align:center;font-variant-numeric:tabular-nums;
overflow-wrap:normal}}
.run{{display:inline-flex;align-items:baseline;gap:.45em}}
figure.table{{margin:0 0 1rem;border:1px solid var(--rule);border-radius:.5rem}}
figure.table figcaption{{margin:0;padding:.7rem .9rem .2rem}}
.scroll{{position:relative;overflow-x:auto;border-radius:.5rem}}
.scroll:focus-visible,a:focus-visible,summary:focus-visible,pre:focus-visible
{{outline:2px solid var(--accent);outline-offset:2px}}
table{{border-collapse:collapse;width:100%;font-size:.92rem}}
th,td{{padding:.5rem .9rem;text-align:left;vertical-align:top;border-top:1px solid var(--rule)}}
thead th{{border-top:0;color:var(--quiet);font-weight:600;font-size:.86rem;vertical-align:bottom;
white-space:nowrap}}
tbody th{{font-weight:500;min-width:11rem;max-width:22rem}}
thead wbr{{display:none}}
tbody th:has(code){{min-width:19rem;max-width:26rem}}
thead th:first-child,tbody th{{position:sticky;left:0;background:var(--page)}}
td{{white-space:nowrap;overflow-wrap:normal}}
td.wrap{{white-space:normal;min-width:9rem;overflow-wrap:anywhere}}
.n{{text-align:right;font-variant-numeric:tabular-nums}}
td.best{{font-weight:650;color:var(--accent)}}
b.best{{color:var(--accent);font-weight:650}}
td .dot{{display:inline-block;width:1.1em;text-align:right}}
sup{{color:var(--quiet);font-weight:400;line-height:0}}
.legend{{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;font-size:.88rem;max-width:none;
color:var(--quiet)}}
.legend>span{{display:inline-flex;align-items:center;gap:.45rem}}
details{{margin:.3rem 0 1.2rem}}
summary{{cursor:pointer;color:var(--accent);padding:.3rem 0}}
dl{{margin:.6rem 0;font-size:.92rem}}
dt{{font-weight:600;margin-top:.7rem}}
dd{{margin:.1rem 0 0;max-width:56rem}}
.facts{{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.4rem}}
.facts dt{{font-weight:400;color:var(--quiet);margin:0}}
.facts dd{{margin:0;min-width:0}}
.cards,.charts{{display:grid;gap:2rem 1.75rem;
grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr))}}
.cards{{grid-template-columns:repeat(auto-fill,minmax(min(17rem,100%),1fr))}}
figure{{margin:0;min-width:0}}
figcaption{{font-size:.88rem;margin-top:.4rem}}
.cards article{{min-width:0}}
.cards h3{{margin-bottom:.5rem}}
.cards img{{display:block;width:100%;height:auto;border-radius:.3rem;background:var(--soft)}}
.wide{{grid-column:span 2}}
.shelf{{display:grid;gap:2.4rem 1.75rem;align-items:start;
grid-template-columns:repeat(auto-fill,minmax(min(21rem,100%),1fr))}}
.shelf article{{min-width:0}}
.shelf h3{{margin-bottom:.5rem}}
.shelf img{{display:block;width:100%;height:auto;max-height:26rem;object-fit:contain;
border-radius:.3rem;background:var(--soft);image-rendering:pixelated}}
.shelf .facts{{grid-template-columns:max-content 1fr;gap:.15rem 1.1rem;margin:.8rem 0 .4rem}}
.shelf .facts dd{{margin:0}}
.scores dd{{font-variant-numeric:tabular-nums}}
p.what{{margin:.5rem 0 0;font-size:.82rem;color:var(--quiet)}}
pre.copy{{margin:.15rem 0 .5rem;padding:.5rem .75rem;font-size:.8rem;user-select:all;
-webkit-user-select:all;white-space:pre-wrap;overflow-wrap:anywhere}}
.strip{{display:flex;gap:.5rem;overflow-x:auto;margin-top:.7rem;padding-bottom:.3rem}}
.strip figure{{flex:0 0 5.2rem}}
.strip figcaption{{font-size:.78rem;margin-top:.15rem;text-align:center;
font-variant-numeric:tabular-nums}}
.none{{border:1px dashed var(--rule);border-radius:.3rem;padding:2.5rem 1rem;text-align:center;
color:var(--quiet)}}
.charts figure{{padding:.8rem .5rem .4rem;border:1px solid var(--rule);border-radius:.5rem}}
.charts h3{{padding:0 .6rem}}
.charts figcaption{{padding:0 .6rem;font-size:.84rem}}
svg{{display:block;width:100%;height:auto}}
svg path{{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}}
svg path.rule{{stroke:var(--rule);stroke-width:1}}
svg path.base{{stroke:var(--quiet);stroke-width:1}}
svg text{{font-size:11px;fill:var(--quiet);font-variant-numeric:tabular-nums}}
svg .end{{text-anchor:end}}svg .mid{{text-anchor:middle}}
svg.swatch{{width:28px;height:8px;flex:none}}svg.swatch path{{stroke-width:2.4}}
{_COLOURS}
code,pre{{font:.94em/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}}
pre{{background:var(--soft);padding:.8rem 1rem;border-radius:.5rem;overflow-x:auto;
margin:.3rem 0 1.2rem;font-size:.86rem;overflow-wrap:normal}}
pre.card{{white-space:pre-wrap}}
.problems{{border-left:3px solid var(--warn);padding:.1rem 0 .1rem 1rem;margin:1.6rem 0 0}}
.problems h2{{margin:0;font-size:1rem;color:var(--warn)}}
.problems ul{{margin:.3rem 0;padding-left:1.1rem;font-size:.92rem}}
footer{{margin-top:3.5rem;padding-top:1rem;padding-bottom:2.5rem;color:var(--quiet);font-size:.88rem}}
@media (max-width:40rem){{
main,header,footer{{padding-left:1rem;padding-right:1rem}}
header{{padding-top:1.5rem}}
h1{{font-size:1.5rem}}h2{{margin-top:2.4rem}}
th,td{{padding:.45rem .6rem}}figure.table figcaption{{padding:.6rem .6rem .2rem}}
tbody th,tbody th:has(code){{min-width:7rem;max-width:9rem}}
.wide{{grid-column:auto}}
.facts{{grid-template-columns:1fr;gap:0}}.facts dd{{margin-bottom:.5rem}}
}}
@media print{{
:root{{{_LIGHT}}}
body{{font-size:9.5pt}}nav{{display:none}}summary{{list-style:none;color:inherit}}
.scroll,.strip,pre{{overflow:visible}}pre{{white-space:pre-wrap}}
table{{font-size:7.5pt}}th,td{{padding:.25rem .4rem}}td,thead th{{white-space:normal}}
tbody th,tbody th:has(code),td.wrap{{min-width:0;position:static}}td .dot{{width:auto}}
figure,article,tr{{break-inside:avoid}}h2,h3{{break-after:avoid}}
details::details-content{{content-visibility:visible;block-size:auto}}
.mark{{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
}}
""".strip()
