"""Which questions must a search of the demo corpus answer?

Each is asked the way a person would, and comes with the item that has to be among the first three hits of the default
model.
"""

QUESTIONS: tuple[tuple[str, str], ...] = (
    ("strip whitespace from both ends of a string", "str.strip"),
    ("remove common leading indentation from a multi-line string", "textwrap.dedent"),
    ("count the most common elements in a list", "collections.Counter.most_common"),
    ("random integer between two numbers", "random.randint"),
    ("greatest common divisor of integers", "math.gcd"),
    ("create a temporary directory that is removed afterwards", "tempfile.TemporaryDirectory"),
    ("escape special characters in HTML", "html.escape"),
    ("generate a secure random token for a URL", "secrets.token_urlsafe"),
    ("find words close to a misspelled word", "difflib.get_close_matches"),
    ("the n largest items of an iterable", "heapq.nlargest"),
)
