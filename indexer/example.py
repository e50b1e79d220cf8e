"""What does a configuration look like that names every setting?"""

STORE = '# store = "parecido-data"'
"""The line that a chosen store replaces."""

EXAMPLE = """\
# parecido.toml: what `parecido index` indexes. Every setting but `source` has the default that its comment shows.

# Who may ask the service is not said here but in the environment, as PARECIDO_API_KEYS: see `parecido serve --help`.

# Where collections are kept; relative to this file.
# store = "parecido-data"

# The embedding cache of all collections: no text is embedded twice. It has to be on a local disk.
# [cache]
# path = "parecido-data/embeddings.sqlite"
# max_bytes = 10_737_418_240

# How the models of this machine compute. "auto": a GPU with torch, else OpenVINO where it is installed and the model
# converts, which is done once and kept in the folder here; "torch": always torch; "openvino": or else fail.
# [local]
# backend = "auto"
# models_cache = "~/.cache/parecido"

# How models behind OpenAI's API are asked, or behind a server that speaks it; OPENAI_BASE_URL goes before base_url, and
# the key is in the environment alone, as OPENAI_API_KEY. Most requests at once; seconds for one of them; seconds for
# which a run goes on trying while none succeeds; most dollars in a calendar month (UTC), of all collections together.
# [openai]
# base_url = "https://api.openai.com/v1"
# in_flight = 8
# timeout_seconds = 120
# give_up_seconds = 600
# max_cost_month = 50.00

# What is known of a model behind an API: how many tokens it reads, how long its vectors are, and dollars for a million
# tokens. For OpenAI's own models this is known; a batch costs half by default.
# [models."openai:text-embedding-3-small"]
# window = 8191
# dimension = 1536
# price_per_million = 0.02
# batch_price_per_million = 0.01

[collections.articles]
# Files, folders or globs; relative to this file. JSON Lines, CSV, TSV (all three also .gz), Parquet, or folders of
# text, Markdown, HTML, PDF and Word files. Or URLs: of files elsewhere, such as s3://bucket/articles/*.parquet, or of a
# database, such as postgresql://reader:${DB_PASSWORD}@db.example.org/shop. ${NAME} is the value of an environment
# variable, percent-encoded where it is a password, which no message shows.
source = ["articles/*.jsonl"]

# The rows of a database; only read, through a cursor that the server keeps.
# query = "SELECT id, title, body, published FROM articles"

# What the source is, where its name does not tell: "jsonl", "csv", "tsv", "parquet", "folder", "sql".
# format = "jsonl"

# The field that holds the id; for a folder, `path` is the file's path in it.
# id = "id"

# The text: a field, several fields (joined by a blank line), or a template.
# text = "text"
# text = ["title", "body"]
# text = "{title}\\n\\n{body}"

# The fields kept as metadata, for filters and answers; all others by default.
# metadata = ["section", "published", "price"]

# Types where the first value does not tell: "string", "integer", "float", "boolean", "datetime", "strings". In CSV
# everything is text unless it is declared here.
# types = { published = "datetime", price = "float" }

# The embedding model: the packaged one, a sentence-transformers model by its hub name, a folder, or "openai:" and the
# name of a model behind an API, such as "openai:text-embedding-3-small". Another model builds a whole new generation.
# model = "all-MiniLM-L6-v2"

# Of a model behind an API: how long vectors it is asked for, where it makes shorter ones too; a name for what the
# server makes, where several addresses make vectors that may meet; "batch" for half the price, within a day; and the
# most dollars that one run may pay.
# dimensions = 512
# space = "our-server"
# mode = "normal"
# max_cost = 5.00

# Text put before every query or passage; the model's own prompts by default.
# query_prompt = ""
# document_prompt = ""

# Where to embed: "cpu", "cuda", …; the best there is by default.
# device = "cpu"

# Keep the texts in the store. Without them hits carry offsets only.
# store_text = true

# How much of what is nearest a search finds at least, on average, as measured after each build; "exact" for all of it.
# Small collections are always searched exactly.
# recall = 0.95

# Most memory and disk that an index takes, as a share of its vectors, which are 4 bytes a dimension; the quickest that
# is within it is tried first. With 384 dimensions a graph takes 0.68, one over 8-bit codes 0.43, 4-bit codes take 0.04.
# The recall goes before it: exact search takes 0.5, and small collections are always searched so. Another budget holds
# for what is written from then on, and for everything after `parecido index --rebuild`.
# memory_budget = 0.8

# A log of what people ask, relative to this file: one query a line, or JSON Lines with `text` (.jsonl, .ndjson). Some
# 200 of its newest lines are asked beside items of the collection wherever an index is tuned, and what counts is the
# lower figure. Only with a model of this machine, which embeds them; their vectors stay in the embedding cache. A log
# that cannot be used is a warning, and nothing else.
# query_log = "queries.txt"

# Let items go that the source no longer has even in a run in which some rows' ids could not be read.
# allow_unread_deletions = false

# Refuse a run that would remove a larger share of the collection, or in which a larger share of the rows is bad.
# max_shrink = 0.2
# max_rejects = 0.5

# Which generations are kept for a rollback: the last ones, and all that are younger.
# keep_generations = 5
# keep_days = 1.0

# How a text that does not fit the model's window becomes several passages, in tokens.
# [collections.articles.passages]
# tokens = 254
# overlap = 31
"""
