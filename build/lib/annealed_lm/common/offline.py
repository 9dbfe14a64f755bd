"""Keep the model libraries off the network. Import it before them: they read these settings when they are imported, which takes
seconds, in which Ctrl-C is one line already.

Only the stages fetch_* may go online; every other stage reads local folders.
"""

import os

import annealed_lm.common.errors  # noqa: F401  (it shows Ctrl-C)

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the library warns when a process forks after using its threads
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # loading a local file is no download; our bars say what takes time
