/** The style of /docs: light and dark, narrow and wide. */
export const DOCS_STYLE = `
:root { color-scheme: light dark; --ink: #1c2430; --dim: #667085; --paper: #fff; --soft: #f6f5f1; --line: #e4e1d8; --accent: #a4501b; --code: #f3f1ea; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e3dc; --dim: #98a0ad; --paper: #15181d; --soft: #1b1f26; --line: #2d333d; --accent: #e79a5f; --code: #20252d; }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1.5rem; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
a { color: inherit; text-decoration: none; }
main a:hover, p a { color: var(--accent); }
code, pre, var { font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
var { color: var(--accent); font-style: normal; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.5rem 1rem 3rem; background: var(--soft); border-right: 1px solid var(--line); }
nav .brand { display: flex; align-items: center; gap: .6rem; font-size: 1.25rem; font-weight: 650; padding: 0 .5rem; }
nav .brand small { color: var(--dim); font-size: .8rem; font-weight: 400; }
.layers { display: grid; gap: 2px; width: 1.1rem; }
.layers i { height: 4px; border-radius: 1px; background: var(--accent); }
.layers i:nth-child(2) { opacity: .6; } .layers i:nth-child(3) { opacity: .3; }
nav h2 { margin: 1.6rem .5rem .4rem; font-size: .72rem; letter-spacing: .09em; text-transform: uppercase; color: var(--dim); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a { display: flex; gap: .5rem; align-items: baseline; padding: .22rem .5rem; border-radius: 5px; font-size: .875rem; line-height: 1.35; }
nav li a:hover { background: var(--line); }
b.GET, b.PUT, b.POST, b.DELETE { font: 600 10.5px/1 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; letter-spacing: .02em; }
nav li b { flex: 0 0 2.9rem; }
b.GET { color: #1a7f4b; } b.PUT { color: #b06000; } b.POST { color: #2463c4; } b.DELETE { color: #c0362c; }
@media (prefers-color-scheme: dark) { b.GET { color: #58c98c; } b.PUT { color: #e5a84b; } b.POST { color: #7fabf0; } b.DELETE { color: #f0857c; } }
main { padding: 2.5rem clamp(1.25rem, 4vw, 4rem) 6rem; max-width: 64rem; }
h1 { margin: 0; font-size: 2.1rem; letter-spacing: -.02em; } h1 small { color: var(--dim); font-weight: 400; }
.lead { font-size: 1.1rem; color: var(--dim); margin-top: .3rem; }
header p { max-width: 48rem; } header p code, section p code { background: var(--code); padding: .1em .35em; border-radius: 4px; }
h2.group { margin: 3.5rem 0 0; padding-bottom: .5rem; font-size: 1.4rem; border-bottom: 2px solid var(--line); }
h2.group small { display: block; font-size: .95rem; font-weight: 400; color: var(--dim); }
section { padding: 1.8rem 0; border-bottom: 1px solid var(--line); }
h3 { display: flex; justify-content: space-between; align-items: baseline; gap: 1rem; margin: 0; font-size: 1.15rem; }
h4 { margin: 1.2rem 0 .3rem; font-size: .78rem; letter-spacing: .07em; text-transform: uppercase; color: var(--dim); }
.role { flex: none; font-size: .75rem; font-weight: 500; color: var(--dim); border: 1px solid var(--line); border-radius: 99px; padding: .1rem .6rem; }
.endpoint { display: flex; align-items: center; gap: .8rem; margin: .6rem 0; padding: .55rem .8rem; background: var(--soft); border: 1px solid var(--line); border-radius: 7px; overflow-x: auto; }
section .endpoint code { background: none; padding: 0; font-size: 13.5px; white-space: nowrap; }
.endpoint b { font-size: 12px; }
table { width: 100%; border-collapse: collapse; margin: .8rem 0; }
td { padding: .45rem .6rem .45rem 0; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td.name { width: 13.5rem; } td small { display: block; color: var(--dim); font-size: .8rem; }
.type { color: var(--dim); font: 12.5px/1.5 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; } a.type { color: var(--accent); }
.dim { color: var(--dim); }
.content { margin-right: .9rem; white-space: nowrap; }
pre { margin: .6rem 0; padding: .8rem 1rem; background: var(--code); border-radius: 7px; overflow-x: auto; }
.curl { border-left: 3px solid var(--accent); }
.answer { display: grid; grid-template-columns: 3.2rem minmax(0, 1fr); padding: .5rem 0; border-top: 1px dashed var(--line); }
.answer:first-child { border-top: 0; }
.status { font: 600 13px/1.7 ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.s2 { color: #1a7f4b; } .s3 { color: #2463c4; } .s4 { color: #b06000; } .s5 { color: #c0362c; }
@media (prefers-color-scheme: dark) { .s2 { color: #58c98c; } .s3 { color: #7fabf0; } .s4 { color: #e5a84b; } .s5 { color: #f0857c; } }
.problems { margin: 0; padding: 0; list-style: none; font-size: .9rem; } .problems code { font-weight: 600; margin-right: .3rem; }
.headers { margin: .3rem 0 0; } .headers code { color: var(--dim); font-size: 12px; margin-right: .9rem; }
@media (max-width: 56rem) { body { display: block; } nav { position: static; height: auto; max-height: 45vh; border-right: 0; border-bottom: 1px solid var(--line); } td.name { width: 9rem; } }
`;
