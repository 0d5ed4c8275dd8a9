import unittest

from wordcount import count


class Count(unittest.TestCase):
    def test_case_and_punctuation_do_not_matter(self) -> None:
        self.assertEqual(count("Night, night. Shift!"), {"night": 2, "shift": 1})

    def test_nothing_counts_nothing(self) -> None:
        self.assertEqual(count(""), {})
