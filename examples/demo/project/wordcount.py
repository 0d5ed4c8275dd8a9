"""Count words: the small library that the demo releases."""

from collections import Counter

__version__ = "0.1.0"


def count(text: str) -> Counter[str]:
    """How often each word occurs, without regard to case."""
    return Counter(word.strip(".,;:!?\"'()").lower() for word in text.split())


def main() -> None:
    """Print the ten most frequent words of standard input."""
    import sys

    for word, number in count(sys.stdin.read()).most_common(10):
        print(f"{number:6} {word}")


if __name__ == "__main__":
    main()
