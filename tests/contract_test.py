"""Runs the contract of `contract.py` on every name of the catalogue."""

import pytest
import tensorflow as tf

import contract
from kgzoo import catalog


def _classes():
    """Two test classes a name; the full contract of a name whose turn it is not is slow."""
    today = contract.names_in_full()
    for name in catalog.names():
        for part in (contract.Quick, contract.Full):
            title = f"{part.__name__}Contract_{name}"
            made = type(title, (part, tf.test.TestCase), {"name": name, "__module__": __name__})
            if part is contract.Full and name not in today:
                made = pytest.mark.slow(made)
            yield title, made


globals().update(_classes())


class CatalogueTest(tf.test.TestCase):
    def test_every_name_is_here(self):
        for name in catalog.names():
            for part in ("Quick", "Full"):
                self.assertIn(f"{part}Contract_{name}", globals())

    def test_the_turn_comes_to_every_name(self):
        names = catalog.names()
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("KGZOO_CONTRACT_NAMES", raising=False)
            seen = set()
            for day in range(1, 367):
                patch.setattr(contract, "day_of_year", lambda day=day: day)
                seen |= set(contract.names_in_full())
            self.assertEqual(seen, set(names))
            patch.setenv("KGZOO_CONTRACT_NAMES", "all")
            self.assertEqual(contract.names_in_full(), names)
            patch.setenv("KGZOO_CONTRACT_NAMES", "smmd,gan")
            self.assertEqual(contract.names_in_full(), ["smmd", "gan"])


if __name__ == "__main__":
    tf.test.main()
