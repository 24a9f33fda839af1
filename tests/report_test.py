"""The verb report: reading runs, comparing scores, curves, one safe page; in a browser if any."""

import base64
import contextlib
import copy
import html.parser
import io
import json
import math
import os
import pathlib
import re
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib

from kgzoo import cli, report
from kgzoo.errors import UserError
from kgzoo.reporting import charts, markup, page, pictures, runs, score_tables

ROOT = pathlib.Path(__file__).resolve().parent.parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next((found for name in BROWSERS if (found := shutil.which(name))), None)
HOSTILE = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "wbr"}


def png(side=8, shade=0):
    """Returns a small grey PNG; its noise keeps it from shrinking to nothing."""

    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = b"".join(
        b"\0" + bytes((shade + 7 * r * c + r * r) % 256 for c in range(side)) for r in range(side)
    )
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def entry(value, extractor="digits", **more):
    facts = {"convention": "as in the paper", "num_samples": 2000, "num_reference": 450}
    return {"value": value, **facts, "extractor": extractor, "seed": 0, **more}


def card(fid, kid=None, error=0.01, extractor="digits"):
    scores = {"fid": entry(fid, extractor), "extractor": {"name": extractor}, "step": 100}
    scores["reference"] = {"name": "digits", "split": "test"}
    if kid is not None:
        errors = {"std": 3 * error, "standard_error": error, "blocks": 9, "block_size": 50}
        scores["kid"] = entry(kid, extractor, **errors)
    return scores


class RunsTest(unittest.TestCase):
    """Makes run folders in a temporary folder."""

    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def make(self, name="run", lines=None, scores=None, steps=(0, 50, 100), **config):
        run = self.folder / name
        (run / "samples").mkdir(parents=True)
        fields = {"method": "smmd", "dataset": "digits", "steps": 100, "seed": 0, **config}
        content = {
            "config": fields,
            "data": {"name": "digits", "shape": [8, 8, 1], "num_examples": 1347},
            "runtime": {"device": "CPU", "threads": 2},
            "version": "0.1.0",
            "command": "python -m kgzoo.main --config=a.py --steps=100 --workdir=runs/a",
        }
        (run / "config.json").write_text(json.dumps(content))
        if lines is None:
            lines = [{"step": s, "critic_loss": -1.0 / s, "kid": 2.0 / s} for s in (10, 20, 100)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (run / "metrics.jsonl").write_text(text)
        for step in steps:
            (run / "samples" / f"step_{step:08d}.png").write_bytes(png(shade=step))
        if scores is not None:
            (run / "scores.json").write_text(json.dumps(scores))
            result = {"step": 100, "training_seconds": 3723.4, "export": "export/a/1"}
            (run / "result.json").write_text(json.dumps(result))
        return run

    def read(self, *folders):
        return runs.read_all([str(folder) for folder in folders])

    def page(self, *folders, title=None):
        return page.render(self.read(*folders), title)

    def hostile(self):
        quote = "\"'><img src=x onerror=alert(1)>"
        scores = card(1.0, 0.1)
        scores[HOSTILE] = entry(2.0, convention=quote, extractor=quote)
        scores["reference"]["name"] = HOSTILE
        lines = [{"step": s, HOSTILE: s, quote: 1, "\ud800\0_loss": 1.0 + s} for s in (1, 2)]
        name = HOSTILE.replace("/", "") + quote
        run = self.make(name, lines, scores, method=quote, **{HOSTILE: quote})
        record = json.loads((run / "config.json").read_text())
        record["command"] = record["version"] = f"x {HOSTILE}"
        record["data"][HOSTILE] = record["runtime"][quote] = quote
        (run / "config.json").write_text(json.dumps(record))
        (run / "result.json").write_text(json.dumps({"step": HOSTILE, "training_seconds": quote}))
        with open(run / "metrics.jsonl", "a") as file:
            file.write("torn")
        return run


class ReadingTest(RunsTest):
    def test_torn_and_foreign_lines_cost_a_sentence_each(self):
        run = self.make()
        with open(run / "metrics.jsonl", "a") as file:
            file.write('[1]\n{"step": true}\n\n{"step": 200, "critic_loss": -3}\n{"step": 300, "cr')
        (read,) = self.read(run)
        self.assertEqual(read.series["critic_loss"][-1], (200, -3.0))
        self.assertEqual(len(read.problems), 2, read.problems)
        self.assertIn("last line", read.problems[0])
        self.assertIn("2 lines", read.problems[1])
        for sentence in read.problems:
            self.assertIn(str(run / "metrics.jsonl"), sentence)

    def test_a_resume_overrules_what_came_after_it(self):
        steps = (10, 20, 30, 40, 30, 40)
        lines = [{"step": s, "a": float(i)} for i, s in enumerate(steps)]
        lines.insert(3, {"step": 30, "b": 7})
        (read,) = self.read(self.make(lines=lines))
        self.assertEqual(read.series["a"], [(10, 0.0), (20, 1.0), (30, 4.0), (40, 5.0)])
        self.assertNotIn("b", read.series)
        self.assertEqual(read.resumes, [30])

    def test_lines_of_one_step_are_one(self):
        lines = [{"step": 10, "a": 1}, {"step": 10, "kid": 2}]
        (read,) = self.read(self.make(lines=lines))
        self.assertEqual((read.series, read.resumes), ({"a": [(10, 1)], "kid": [(10, 2)]}, []))

    def test_damaged_files_are_named_and_the_rest_is_shown(self):
        run = self.make(scores=card(1.0))
        for name in ("scores.json", "result.json", "config.json"):
            (run / name).write_text('{"fid": ')
        (run / "samples" / "step_00000100.png").write_bytes(png()[:-5])
        content = self.page(run)
        for name in ("scores.json", "result.json", "config.json", "samples/step_00000100.png"):
            self.assertEqual(content.count(str(run / name)), 1, name)
        self.assertIn("critic_loss", content)
        self.assertIn("step 50", content)

    def test_stopped_before_its_first_line(self):
        run = self.make(lines=[], steps=(0,))
        for name in ("step_00000007", "step_00000014", "step_9.tmp", ".step_00000099"):
            (run / "checkpoints" / name).mkdir(parents=True)
        (read,) = self.read(run)
        self.assertEqual(read.last_step, 14)
        self.assertIn("14 of 100", self.page(run))

    def test_a_new_run_has_no_record_yet(self):
        run = self.make(lines=[], steps=())
        (run / "metrics.jsonl").unlink()
        content = self.page(run)
        self.assertIn("No samples drawn", content)
        self.assertIn("unfinished", content)
        self.assertNotIn("could not be read", content)

    def test_labels_tell_runs_apart(self):
        found = self.read(*(self.make(name) for name in ("a/run", "b/run")))
        self.assertEqual([run.label for run in found], ["a/run", "b/run"])

    def test_an_export_is_shown_with_its_card(self):
        export = self.folder / "smmd_digits" / "1"
        export.mkdir(parents=True)
        (export / "saved_model.pb").touch()
        (export / "MODEL_CARD.md").write_text("# smmd <b>")
        (export / "samples.png").write_bytes(png())
        content = self.page(export)
        self.assertIn("# smmd &lt;b&gt;", content)
        self.assertIn("smmd_<wbr>digits/<wbr>1", content)

    def test_other_folders_are_a_mistake(self):
        empty = self.folder / "empty"
        empty.mkdir()
        run = self.make()
        for folders, word in (
            ([empty], "neither a run"),
            ([self.folder / "none"], "not a folder"),
            ([run, run], "twice"),
        ):
            with self.assertRaisesRegex(UserError, word):
                self.read(*folders)


class ScoresTest(RunsTest):
    def cells(self, *cards):
        """Returns the row of each run, as (classes, text) of its cells; rows are in order."""
        folders = [self.make(f"r{i}", scores=scores) for i, scores in enumerate(cards)]
        table = score_tables.render(self.read(*folders))
        rows = {}
        for row in re.findall(r"<tr><th.*?</tr>", table):
            if name := re.search(r"r<?(\d+)</span></a>", row):
                tds = re.findall(r'<td(?: class="([^"]*)")?[^>]*>(.*?)</td>', row)
                texts = [re.sub(r"<[^>]*>", "", text) for _, text in tds]
                rows[int(name[1])] = [
                    (set(c.split()) - {"n"}, t) for (c, _), t in zip(tds, texts, strict=True)
                ]
        return [rows[i] for i in sorted(rows)], table

    def test_best_and_level_runs_are_marked(self):
        rows, table = self.cells(card(3.0, 0.5), card(2.0, 0.1), card(2.5, 0.12), card(9.0, 0.2))
        self.assertEqual([row[1][0] for row in rows], [set(), {"best"}, set(), set()])
        # 0.02 is within 2 sqrt(2) 0.01, 0.1 is not.
        self.assertEqual([row[2][0] for row in rows], [set(), {"best"}, {"level"}, set()])
        self.assertIn("0.500 \u00b1 0.010", rows[0][2][1])
        self.assertEqual(table.count("<table"), 1)

    def test_other_extractors_and_counts_are_never_ranked_together(self):
        fewer = card(1.0)
        fewer["fid"]["num_samples"] = 64
        rows, table = self.cells(card(3.0), card(2.0, extractor="random_conv"), fewer)
        self.assertEqual([row[1][0] for row in rows], [set()] * 3)
        self.assertEqual(table.count("<table"), 3)
        self.assertIn("64 samples against 450 examples of digits test", table)

    def test_another_convention_gets_a_letter(self):
        other = card(1.0, 0.3)
        other["kid"]["convention"] = "another kernel"
        rows, table = self.cells(card(3.0, 0.5), card(2.0, 0.1), other)
        self.assertEqual([row[2][0] for row in rows], [set(), {"best"}, set()])
        for row, letter in zip(rows, "aab", strict=True):
            self.assertIn(letter, row[2][1])
        self.assertEqual([row[1][0] for row in rows], [set(), set(), {"best"}])
        self.assertIn("another kernel", table)

    def test_higher_is_better_unknown_is_not_ranked(self):
        cards = [card(1.0), card(1.0)]
        for value, scores in zip((0.2, 0.7), cards, strict=True):
            scores |= {"recall": entry(value), "own_score": entry(value)}
        rows, _ = self.cells(*cards)
        self.assertEqual([row[2][0] for row in rows], [set(), {"best"}])
        # Equal ones and those of unknown direction are left alone.
        self.assertEqual([row[1][0] | row[3][0] for row in rows], [set(), set()])

    def test_the_real_data_have_a_row_and_odd_values_do_not_stop_it(self):
        scores = card(1.0)
        scores["fid_between_real_halves"] = entry(0.25)
        scores |= {"inception_score": entry(8.0), "inception_score_of_reference": entry(9.5)}
        scores["two_sample_test"] = entry(0.5, p_value=0.004)
        scores |= {"shares": entry([0.25, None, "x"]), "recall": entry(math.nan), "x": {"value": 1}}
        _, table = self.cells(scores)
        real = re.search(r"real data.*?</tr>", table)[0]
        self.assertIn("0.25", real)
        self.assertIn("9.5", real)
        self.assertIn("NaN", table)
        self.assertIn("p = 0.004", table)


class ChartTest(unittest.TestCase):
    def draw(self, *points):
        return charts.chart("a", [charts.Curve(i, values) for i, values in enumerate(points)])

    def test_positive_wide_ranges_are_logarithmic(self):
        svg, notes = self.draw([(s, 10.0 ** (-s)) for s in range(5)])
        self.assertEqual(notes, ["log scale"])
        heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", svg.split("s0")[1])]
        gaps = [b - a for a, b in zip(heights, heights[1:], strict=False)]
        self.assertLess(max(gaps) - min(gaps), 0.3)

    def test_values_that_are_not_finite_break_the_line_and_are_told(self):
        values = [1.0, 2.0, math.nan, math.inf, 1.5, 1.0, -math.inf]
        svg, notes = self.draw(list(enumerate(values)))
        line = max(re.findall(r' d="([^"]*)"', svg.split("s0")[2]), key=len)
        self.assertEqual(line.count("M"), 2)
        self.assertEqual(notes, ["run 1: 3 values from step 2 on are not finite"])
        self.assertNotIn("nan", svg)
        self.assertNotIn("inf", svg)
        self.assertEqual(self.draw([(1, math.nan)]), ("", ["run 1: NaN at step 1"]))

    def test_thinning_keeps_spikes(self):
        points = [(s, 0.5 + (s == 4321) - (s == 777)) for s in range(10_000)]
        svg, _ = self.draw(points)
        line = svg.split('class="s0"')[1]
        self.assertLess(line.count("L"), 400)
        heights = [float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)", line)]
        self.assertEqual((heights.count(min(heights)), heights.count(max(heights))), (1, 1))

    def test_an_outlier_does_not_flatten_the_rest(self):
        svg, notes = self.draw([(s, -1.0 - s if s != 50 else 1e300) for s in range(100)])
        self.assertEqual(notes, ["1 outlier is drawn at the edge"])
        self.assertIn("\u221250", svg)

    def test_extreme_values_are_drawn(self):
        for values in ([1e308, -1e308], [0.0, 0.0], [5e-324, 1e300], [7.0], [-3e-320, 0.0]):
            svg, _ = self.draw(list(enumerate(values)))
            self.assertIn("</svg>", svg)
            self.assertNotIn("nan", svg)


class NumbersTest(unittest.TestCase):
    def test_numbers(self):
        for value, text in (
            *((0.0, "0"), (1234.5, "1,234"), (-0.25, "\u22120.25"), (math.nan, "NaN")),
            *((1.5e-7, "1.5e\u22127"), (123456.7, "123,457"), (2e9, "2e9"), (0.9999999, "1")),
        ):
            self.assertEqual(markup.number_text(value), text)
        self.assertEqual(markup.with_error(0.000182053, 0.0000461), ("0.000182", "0.000046"))
        self.assertEqual(markup.with_error(1.26845, 0.0125), ("1.268", "0.013"))
        self.assertEqual(markup.with_error(1.5, None), ("1.5", ""))


class Checker(html.parser.HTMLParser):
    """Notes unbalanced tags, tags and addresses that must not be, and pictures without alt."""

    def __init__(self):
        super().__init__()
        self.open, self.faults, self.ids, self.tables = [], [], [], 0

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        if tag not in VOID | {"path", "circle"}:
            self.open.append(tag)
        if tag in ("script", "iframe", "object", "embed"):
            self.faults.append(tag)
        if tag == "img" and not facts.get("alt"):
            self.faults.append("img without alt")
        for name, value in facts.items():
            if name.startswith("on"):
                self.faults.append(name)
            if name in ("src", "href") and not (value or "").startswith(("data:", "#")):
                self.faults.append(f"{name}={value}")
        if tag == "th" and "scope" not in facts:
            self.faults.append("th without scope")
        self.ids += [facts["id"]] if "id" in facts else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID | {"path", "circle"}:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")


class PageTest(RunsTest):
    def check(self, content):
        checker = Checker()
        checker.feed(content)
        checker.close()
        self.assertEqual((checker.faults, checker.open), ([], []))
        self.assertEqual(len(set(checker.ids)), len(checker.ids))

    def test_every_string_is_escaped(self):
        content = self.page(self.hostile(), self.make("good", scores=card(2.0, 0.3)), title=HOSTILE)
        self.check(content)
        self.assertIn("&lt;script&gt;", content)
        content.encode()

    def test_it_needs_nothing_else(self):
        content = self.page(self.make(scores=card(1.0)))
        self.check(content)
        self.assertNotRegex(content, r"https?:|@import|url\(")
        found = re.findall(r'src="data:image/png;base64,([^"]*)"', content)
        self.assertEqual([base64.b64decode(p) for p in found], [png(shade=s) for s in (100, 0, 50)])
        self.assertIn('name="viewport"', content)

    def test_only_differing_settings_are_shown_open(self):
        folders = [self.make("a", seed=1, old=2), self.make("b", seed=2)]
        content = self.page(*folders)
        opened, folded = content.split("Fields that differ</figcaption>")[1].split("<details>", 1)
        self.assertIn("<code>seed</code>", opened)
        self.assertNotIn("<code>method</code>", opened)
        self.assertIn("<code>method</code>", folded)
        # What only one of them records is no difference.
        self.assertNotIn("<code>old</code>", opened)
        self.assertIn("<code>old</code>", folded)

    def test_commands_resume_or_train_on(self):
        content = self.page(self.make("a"), self.make("b", scores=card(1.0)))
        self.assertIn("--config=a.py --steps=100 --workdir=runs/a<", content)
        self.assertIn("--config=a.py --workdir=runs/a --steps=200<", content)
        self.assertIn("1 h 02 min", content)

    def test_equal_folders_give_equal_pages(self):
        folders = [self.make("a", scores=card(1.0)), self.make("b")]
        self.assertEqual(self.page(*folders), self.page(*folders))

    def test_fifty_runs(self):
        folders = [self.make(f"run{i:02d}", scores=card(1.0 + i), seed=i) for i in range(50)]
        content = self.page(*folders)
        self.check(content)
        self.assertEqual(content.count('class="n best"'), 1)
        for number in range(1, 51):
            self.assertIn(f'id="run-{number}"', content)

    def test_pictures_stay_within_a_budget(self):
        folders = [self.make(f"r{i}", steps=range(0, 120, 10)) for i in range(2)]
        noise = os.urandom(400_000)
        for path in self.folder.rglob("*.png"):
            path.write_bytes(png()[:-12] + noise + png()[-12:])
        chosen = pictures.choose(self.read(*folders))
        self.assertEqual([len(shown) for shown in chosen], [2, 2])
        self.assertEqual([shown[-1].step for shown in chosen], [110, 110])


class VerbTest(RunsTest):
    def verb(self, *arguments):
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.run(report.main, ["report", *map(str, arguments)])
            except SystemExit as end:
                return end.code, out.getvalue(), err.getvalue()

    def test_writes_the_page(self):
        to = self.folder / "new" / "my page.html"
        code, out, err = self.verb(self.make(), f"--to={to}", "--title=Kernels & <co>")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"^wrote '.*my page.html' \(\d+ kB\)\n$")
        self.assertIn("<h1>Kernels &amp; &lt;co&gt;</h1>", to.read_text(encoding="utf-8"))
        self.assertEqual([path.name for path in to.parent.iterdir()], [to.name])

    def test_mistakes_are_one_sentence(self):
        run = self.make()
        for arguments, word in (
            ([], "No run"),
            ([self.folder], "neither"),
            ([run, "--to="], "--to"),
            ([run, f"--to={self.folder}"], "is a folder"),
            ([run, "--titel=x"], "title"),
        ):
            code, out, err = self.verb(*arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), arguments)
            self.assertIn(word, err)

    def test_loads_nothing_heavy(self):
        script = (
            "import sys; from kgzoo import report; report.main(['x', *sys.argv[1:]]);"
            "print(sorted({'numpy', 'matplotlib', 'PIL', 'tensorflow'} & set(sys.modules)))"
        )
        command = [sys.executable, "-c", script, str(self.make()), f"--to={self.folder}/a.html"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.splitlines()[-1], "[]")


class Browser:
    """A headless Chromium, spoken to over a pipe."""

    def __init__(self, folder):
        read_end, self.out = os.pipe()
        self.into, write_end = os.pipe()
        flags = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run"
        flags += " --remote-debugging-pipe about:blank"
        # The browser reads its orders from descriptor 3 and answers on 4.
        script = f'exec "$0" {flags} "--user-data-dir=$1" 3<&{read_end} 4>&{write_end}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, CHROMIUM, str(folder)],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        self.buffer, self.number, self.events, self.session = b"", 0, [], {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = {"sessionId": attached["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.out)
        os.close(self.into)

    def message(self):
        while b"\0" not in self.buffer:
            ready = select.select([self.into], [], [], 60)[0]
            part = os.read(self.into, 1 << 20) if ready else b""
            if not part:
                raise RuntimeError("The browser is gone or does not answer.")
            self.buffer += part
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def call(self, method, **params):
        self.number += 1
        request = {"id": self.number, "method": method, "params": params, **self.session}
        os.write(self.out, json.dumps(request).encode() + b"\0")
        while (answer := self.message()).get("id") != self.number:
            self.events.append(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, path, width, dark=False):
        self.events.clear()
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self.message())

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    def said(self):
        kinds = ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
        return [event for event in self.events if event["method"] in kinds]

    def asked_for(self):
        asked = [e for e in self.events if e["method"] == "Network.requestWillBeSent"]
        urls = [event["params"]["request"]["url"] for event in asked]
        return [url for url in urls if not url.startswith("data:")]


@unittest.skipUnless(CHROMIUM, "No Chromium or Chrome is on the path.")
class BrowserTest(RunsTest):
    """The page as a browser shows it."""

    def test_wide_narrow_light_and_dark(self):
        long = copy.deepcopy(card(1.0, 0.2))
        long |= {f"a_rather_long_name_of_a_score_{i}": entry(1.0 + i) for i in range(12)}
        folders = [self.hostile(), self.make("name_" * 30, scores=long)]
        folders += [self.make(f"run{i}", seed=i, lines=[]) for i in range(10)]
        path = self.folder / "page.html"
        path.write_text(self.page(*folders), encoding="utf-8")
        # The browser's own processes may write there for a moment after its end.
        profile = self.enterContext(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
        browser = Browser(pathlib.Path(profile))
        self.addCleanup(browser.close)
        colours = set()
        for width, dark in ((1280, False), (375, False), (375, True)):
            with self.subTest(width=width, dark=dark):
                browser.open(path, width, dark)
                browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
                root = "document.documentElement"
                self.assertLessEqual(browser.value(f"{root}.scrollWidth"), width)
                self.assertEqual(browser.said(), [])
                self.assertEqual(browser.asked_for(), [path.resolve().as_uri()])
                broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
                self.assertEqual(browser.value(broken), 0)
                self.assertGreater(browser.value("document.images.length"), 10)
                colours.add(browser.value("getComputedStyle(document.body).backgroundColor"))
        self.assertEqual(len(colours), 2)


if __name__ == "__main__":
    unittest.main()
