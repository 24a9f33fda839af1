"""Records of runs as they are found: torn, damaged, resumed, missing."""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest

from kgzoo.evaluation import json_lines

ROOT = pathlib.Path(__file__).resolve().parent.parent


class RecordTest(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.path = folder / "metrics.jsonl"

    def read(self, *lines, end="\n"):
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.path.write_text("\n".join(texts) + end, encoding="utf-8")
        return json_lines.read(self.path)

    def test_lines_of_one_step_are_one(self):
        record = self.read({"step": 1, "a": 2, "b": 3}, {"step": 1, "a": 5}, {"step": 2, "a": 7})
        self.assertEqual(
            record.lines, [(1.0, {"step": 1, "a": 5, "b": 3}), (2.0, {"step": 2, "a": 7})]
        )
        self.assertEqual(record[1:], ([], 0, False))

    def test_a_torn_last_line_and_damaged_ones_are_counted(self):
        good = {"step": 3, "a": 1}
        bad = ("[1]", "nonsense", {"a": 1}, {"step": True}, {"step": "4"}, {"step": -1}, "[" * 9999)
        record = self.read(good, *bad, {"step": math.nan}, {"step": 10**400}, "", '{"step": 4, "l')
        self.assertEqual(record.lines, [(3.0, good)])
        self.assertEqual((record.damaged, record.torn), (len(bad) + 3, False))
        record = self.read(good, '{"step": 4, "l', end="")
        self.assertEqual((record.lines, record.damaged, record.torn), ([(3.0, good)], 1, True))
        # Whole but for its end: it is taken.
        record = self.read(good, {"step": 4}, end="")
        self.assertEqual((len(record.lines), record.damaged, record.torn), (2, 0, False))
        self.path.write_bytes(b'{"step": 1, "a": "\xff"}\n\x00\xfe\n')
        record = json_lines.read(self.path)
        self.assertEqual((len(record.lines), record.damaged), (1, 1))

    def test_where_it_goes_back_what_came_later_is_gone(self):
        lines = [{"step": s, "n": n} for n, s in enumerate((1, 2, 3, 4, 2, 3, 1))]
        record = self.read(*lines[:-1])
        found = [(step, content["n"]) for step, content in record.lines]
        self.assertEqual((found, record.resumes), ([(1, 0), (2, 4), (3, 5)], [2.0]))
        self.assertEqual(self.read(*lines).lines, [(1.0, lines[-1])])
        # A step begun again has nothing of what it had.
        record = self.read({"step": 1, "a": 1}, {"step": 2}, {"step": 1, "b": 2})
        self.assertEqual(record.lines, [(1.0, {"step": 1, "b": 2})])

    def test_numbers(self):
        for value, expected in ((2, 2.0), (10**400, math.inf), (-(10**400), -math.inf), (0.5, 0.5)):
            self.assertEqual(json_lines.number(value), expected)
        for value in (True, None, "1", [1]):
            self.assertIsNone(json_lines.number(value))

    def test_without_the_file(self):
        with self.assertRaises(FileNotFoundError):
            json_lines.read(self.path)
        self.assertEqual(json_lines.objects(self.path), [])
        self.assertEqual(json_lines.objects(self.path.parent), [])
        self.read({"step": 1}, "torn")
        self.assertEqual(json_lines.objects(self.path), [{"step": 1}])

    def test_it_imports_nothing_heavy(self):
        script = (
            "import sys; from kgzoo.evaluation import json_lines;"
            "print(sorted({'numpy', 'matplotlib', 'scipy', 'tensorflow'} & set(sys.modules)))"
        )
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        self.assertEqual(done.stdout.strip(), "[]", done.stderr)


if __name__ == "__main__":
    unittest.main()
