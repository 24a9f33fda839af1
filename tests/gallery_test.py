"""The gallery of a folder of exports: a card and a table row each, whatever the files hold."""

import contextlib
import errno
import io
import json
import os
import pathlib
import tempfile
import unittest
from unittest import mock

from kgzoo import cli, report
from kgzoo.errors import UserError
from kgzoo.reporting import exports, gallery, gallery_table
from kgzoo.reporting.style import CSS
from report_test import HOSTILE, Checker, card, entry, png

ROOT = pathlib.Path(__file__).resolve().parent.parent
CARD = """# {name}, version 1

scaled MMD-GAN

## How it was made

|  |  |
| --- | --- |
| method | `smmd` |
| paper | Arbel et al. 2018, a \\| b |
| steps (generator updates) | 1,500 |
| seed | -3 |
| data: name | digits |

```sh
python -m kgzoo.main --steps=1500
```

## Networks

```sh
not this
```
"""


@contextlib.contextmanager
def refused(*paths):
    """Has the system deny these files and folders, as with `chmod 0` to all but root."""

    def guarded(original, of_itself):
        def call(path, *args, **kwargs):
            where = pathlib.Path(path) if isinstance(path, (str, os.PathLike)) else None
            if where and (where.parent in paths or (of_itself and where in paths)):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return original(path, *args, **kwargs)

        return call

    with contextlib.ExitStack() as stack:
        for module, name, of_itself in (
            *((os, "stat", False), (os, "lstat", False), (os, "listdir", True)),
            *((os, "scandir", True), (io, "open", True)),
        ):
            guard = guarded(getattr(module, name), of_itself)
            stack.enter_context(mock.patch.object(module, name, guard))
        yield


class Page(Checker):
    """Reads a page: its text, its tags, and what must not be."""

    def __init__(self, html):
        super().__init__()
        self.text, self.tags = "", []
        self.feed(html.replace(CSS, ""))

    def handle_starttag(self, tag, attributes):
        super().handle_starttag(tag, attributes)
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


class ExportsTest(unittest.TestCase):
    """Makes exports in a temporary folder."""

    def setUp(self):
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "export"
        self.root.mkdir()

    def make(self, name="smmd_mnist", version=1, preset=None, picture=None, text=None):
        folder = self.root / name / str(version)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"x" * 1000)
        (folder / "MODEL_CARD.md").write_text(CARD.format(name=name) if text is None else text)
        (folder / "samples.png").write_bytes(png() if picture is None else picture)
        if preset is not None:
            content = preset if isinstance(preset, str) else json.dumps(preset)
            (folder / "preset.json").write_text(content)
        return folder

    def preset(self, **more):
        scores = card(0.25, 0.01)
        scores["fid_between_real_halves"] = entry(0.04)
        scores["class_shares"] = entry([0.1] * 10)
        facts = {"method": "sn_smmd", "dataset": "mnist", "kind": "image", "scores": scores}
        facts |= {"sample_shape": [28, 28, 1], "steps": 4000, "seed": 7, "command": "train it"}
        return {**facts, **more}

    def read(self):
        return exports.read_all(self.root).found

    def page(self):
        return gallery.render(*exports.read_all(self.root))


class ReadingTest(ExportsTest):
    def test_preset_knows_better_than_the_card(self):
        self.make(preset=self.preset())
        (found,) = self.read()
        self.assertEqual(
            (found.method, found.dataset, found.command), ("sn_smmd", "mnist", "train it")
        )
        self.assertEqual((found.steps, found.seed, found.shape), (4000, 7, [28, 28, 1]))
        self.assertEqual(found.paper, "Arbel et al. 2018, a | b")
        self.assertEqual(found.problems, [])
        self.assertGreater(found.size, 1000)

    def test_what_it_was_fine_tuned_from(self):
        line = "| fine-tuned from | `runs/<b>` (`gan`, step 2; taken: critic 3 of 4 layers) |"
        seed = "| seed | -3 |"
        self.make(text=CARD.format(name="x").replace(seed, f"{seed}\n{line}"))
        (found,) = self.read()
        self.assertEqual(found.begun, "runs/<b> (gan, step 2; taken: critic 3 of 4 layers)")
        self.assertIn("<dt>fine-tuned from</dt><dd>runs/&lt;b&gt; (gan, step 2;", self.page())
        self.make("other")
        self.assertEqual(self.page().count("fine-tuned from</dt>"), 1)

    def test_without_a_preset_the_card_tells(self):
        self.make()
        (found,) = self.read()
        self.assertEqual((found.method, found.dataset), ("smmd", "digits"))
        self.assertEqual((found.steps, found.seed), (1500, -3))
        self.assertEqual(found.command, "python -m kgzoo.main --steps=1500")
        self.assertEqual(found.scores, {})

    def test_order_and_newest_version(self):
        self.make("b_mnist", preset=self.preset())
        self.make("a_mnist", 2, self.preset())
        self.make("a_mnist", 10, self.preset())
        self.make("z_digits", preset=self.preset(dataset="digits"))
        self.make("odd", text="nothing")
        (self.root / "no_export" / "1").mkdir(parents=True)
        (self.root / "a_mnist" / "3.tmp").mkdir()
        (self.root / "README.md").write_text("x")
        found = [(e.name, e.version, e.newest) for e in self.read()]
        expected = [("z_digits", 1, True), ("a_mnist", 10, True), ("a_mnist", 2, False)]
        self.assertEqual(found, [*expected, ("b_mnist", 1, True), ("odd", 1, True)])

    def test_damaged_files_cost_a_sentence_each(self):
        bad = ("{", "[1]", "[" * 100_000, "null", '{"method": 3, "steps": NaN, "scores": [1]}')
        for index, text in enumerate(bad):
            self.make(f"m{index}", preset=text, picture=b"no png" if index == 4 else None)
        found = self.read()
        self.assertEqual([len(e.problems) for e in found], [1, 1, 1, 1, 0])
        # What has another type leaves what the card tells.
        self.assertEqual((found[4].method, found[4].steps), ("smmd", 1500))
        html = self.page()
        self.assertIn("What could not be read", html)
        self.assertEqual(html.count("<article>"), 5)
        self.assertIn("is no whole PNG file", html)

    def test_versions_as_a_server_reads_them(self):
        self.make("a", "007")
        self.make("a", 6)
        found = self.read()
        self.assertEqual([(e.version, e.newest) for e in found], [(7, True), (6, False)])
        self.assertEqual(found[0].path, self.root / "a" / "007")
        self.assertEqual([e.problems for e in found], [[], []])
        self.assertIn("| [a](<a/007/>) |", gallery_table.markdown(self.root))
        self.assertIn(f'load("{found[0].path}")', gallery.load_line(found[0]))
        self.make("a", 7)
        found, problems = exports.read_all(self.root)
        self.assertEqual([e.path.name for e in found], ["7", "6"])
        self.assertEqual(
            problems, [f"{self.root}/a/007 is the same version as {self.root}/a/7 and left out."]
        )

    def test_what_may_not_be_read_costs_a_sentence(self):
        for name in ("a", "b", "c", "d"):
            self.make(name)
        self.make("a", 2)
        denied = [self.root / "b", self.root / "a" / "2"]
        denied += [self.root / "c" / "1" / "samples.png", self.root / "d" / "1" / "MODEL_CARD.md"]
        with refused(*denied):
            found, problems = exports.read_all(self.root)
            html = gallery.render(found, problems)
            self.assertEqual(gallery_table.markdown(self.root).count("\n"), 4)
        told = [[], *([f"{path} cannot be read."] for path in denied[2:])]
        self.assertEqual([e.name for e in found], ["a", "c", "d"])
        self.assertEqual(sorted(e.problems for e in found), sorted(told))
        why = "cannot be read (Permission denied)."
        self.assertEqual(problems, [f"{self.root}/a/2 {why}", f"{self.root}/b {why}"])
        for sentence in problems:
            self.assertIn(sentence, html)
        with refused(self.root):
            with self.assertRaisesRegex(
                UserError, r"export cannot be read \(Permission denied\); "
            ):
                exports.read_all(self.root)

    def test_refuses_what_is_no_folder(self):
        with self.assertRaisesRegex(UserError, "not a folder; give a folder of exports"):
            exports.read_all(self.root / "none")


class PageTest(ExportsTest):
    def test_a_card_has_what_one_needs(self):
        self.make(preset=self.preset())
        html = self.page()
        page = Page(html)
        self.assertEqual((page.faults, page.open), ([], []))
        for text in (
            *("sn_smmd", "28 \u00d7 28 \u00d7 1", "4,000", "train it", "FID", "as in the paper"),
            *("FID0.25 (real halves 0.04)", "KID0.010", "num samples: 2,000", "kB"),
            'import kgzoo; kgzoo.load("smmd_mnist").sample(64, seed=1)',
            "tensorflow_model_server --rest_api_port=8501 --model_name=smmd_mnist ",
        ):
            self.assertIn(text, page.text)
        self.assertNotIn("Class shares", page.text)
        self.assertEqual(html.count("data:image/png;base64,"), 1)
        self.assertNotRegex(html, r"https?://")
        self.assertNotIn("<script", html)

    def test_lines_to_copy(self):
        self.make("a", 1)
        self.make("a", 2)
        self.make("b c'd")
        new, old, odd = self.read()
        self.assertIn('kgzoo.load("a")', gallery.load_line(new))
        self.assertIn(f'kgzoo.load("{old.path}")', gallery.load_line(old))
        self.assertIn("--model_name='b c'\"'\"'d' --model_base_path='/", gallery.serve_line(odd))
        with contextlib.chdir(self.root.parent):
            (here, *_) = exports.read_all("export").found
        self.assertIn('--model_base_path="$PWD/export/a"', gallery.serve_line(here))

    def test_hostile_files_stay_text(self):
        quote = "\"'><img src=x onerror=alert(1)>"
        scores = {HOSTILE: entry(1.0, convention=quote, extractor=quote), "fid": HOSTILE, "kid": {}}
        scores["reference"] = {"name": HOSTILE}
        facts = dict.fromkeys(("method", "dataset", "command"), f"{quote}{HOSTILE}|`\n]")
        preset = self.preset(**facts, scores=scores, sample_shape=[HOSTILE], seed=HOSTILE)
        self.make(quote.replace("/", ""), preset=preset, text=f"{HOSTILE}\n| paper | {quote} |\n")
        page = Page(self.page())
        self.assertEqual((page.faults, page.open), ([], []))
        self.assertEqual(page.tags.count("img"), 1)
        table = gallery_table.markdown(self.root)
        self.assertEqual(len(table.splitlines()), 3)
        self.assertEqual(table.splitlines()[2].replace("\\|", "").count("|"), 8, table)
        in_text = "".join(table.replace("\\`", "").split("`")[::2])
        self.assertNotIn("<script", in_text)

    def test_no_export_at_all(self):
        self.assertIn("No export is in this folder yet", self.page())
        self.assertEqual(gallery_table.markdown(self.root), "No export is in this folder yet.")


class TableTest(ExportsTest):
    def test_rows(self):
        self.make(preset=self.preset())
        self.make("plain")
        head, _, plain, row = gallery_table.markdown(self.root).splitlines()
        self.assertEqual(head.count("|"), row.count("|"))
        self.assertIn("| [plain](<plain/1/>) | `smmd` | digits | 1,500 | not scored | ", plain)
        self.assertIn("FID 0.25 (real halves 0.04); KID 0.010 \u00b1 0.010", row)
        self.assertIn("(2,000 samples, features: digits)", row)
        self.assertTrue(row.endswith("| `train it` |"), row)

    def test_the_command_renews_it(self):
        self.make(preset=self.preset())
        readme = self.root / "README.md"
        begin, end = gallery_table.MARKERS
        readme.write_text(f"\u00e9 before\n{begin}old{end}\nafter\n", encoding="utf-8")
        line = ["report", "--gallery", str(self.root), "--markdown"]
        for _ in range(2):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                report.main([*line, f"--to={readme}"])
                report.main(line)
        table = gallery_table.markdown(self.root)
        expected = f"\u00e9 before\n{begin}{table}{end}\nafter\n"
        self.assertEqual(readme.read_text(encoding="utf-8"), expected)
        self.assertEqual(out.getvalue(), f"wrote {readme}\n{table}\n")
        for text in ("", begin, "".join(reversed(gallery_table.MARKERS))):
            readme.write_text(text)
            with self.assertRaisesRegex(UserError, "one table, between"):
                gallery_table.renew(readme, self.root)
            self.assertEqual(readme.read_text(), text)

    def test_the_table_of_the_shipped_exports_is_current(self):
        text = (ROOT / "export" / "README.md").read_text(encoding="utf-8")
        begin, end = gallery_table.MARKERS
        table = text.partition(begin)[2].partition(end)[0].splitlines()
        self.assertGreater(len(table), 16)
        command = begin.split(": ")[1].split(" -->")[0]
        # There may be others of one's own beside them.
        now = gallery_table.markdown(ROOT / "export").splitlines()
        self.assertLessEqual(set(table), set(now), f"type {command}")


class VerbTest(ExportsTest):
    def test_writes_the_page(self):
        self.make(preset=self.preset())
        path = self.root / "page.html"
        with contextlib.redirect_stdout(io.StringIO()) as out:
            report.main(["report", "--gallery", str(self.root), f"--to={path}", "--title=Ours"])
        self.assertRegex(out.getvalue(), r"^wrote .*page\.html \(\d+ kB\)\n$")
        self.assertIn("<h1>Ours</h1>", path.read_text(encoding="utf-8"))

    def test_mistakes(self):
        for line, sentence in (
            (["--markdown", "runs/a"], "--gallery too"),
            (["--gallery", "a", "b"], "2 folders are given; give one"),
            (["--gallery", str(self.root / "none")], "is not a folder"),
        ):
            with contextlib.redirect_stderr(io.StringIO()) as err:
                with self.assertRaises(SystemExit) as end:
                    cli.run(report.main, ["report", *line])
            self.assertEqual(end.exception.code, 2)
            self.assertIn(sentence, err.getvalue())
            self.assertEqual(err.getvalue().count("\n"), 1)


if __name__ == "__main__":
    unittest.main()
