"""Commands as README and docs say them."""

from support.projects import ROOT


def commands_of(page: str, heading: str, block: int | None = None) -> list[str]:
    """Return the commands under a heading of a page, without comments, a command a line; of one block of code, or of all."""
    section = (ROOT / page).read_text(encoding="utf-8").split(f"\n{heading}\n")[1].split("\n## ")[0]
    blocks = section.split("```\n")[1::2]
    chosen = "".join(blocks if block is None else blocks[block : block + 1])
    lines = chosen.replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := line.split(" # ")[0].strip())]
