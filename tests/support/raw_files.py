"""Raw corpus files small enough for tests, in the layouts that their authors gave them."""

import hashlib
import json
import zipfile
from pathlib import Path

from annealed_lm.corpora.files import E2E_ARCHIVE
from annealed_lm.corpora.readers import E2E_MEMBERS

E2E_CONTENTS = {
    "train": '\ufeffmr,ref\n"name[A], area[b]","A pub, ""cheap""\nby the river."\nname[B],Café B.\n',
    "valid": "mr,ref\nname[C],C is here.\n",
    "test": '"mr","ref"\n"name[D]","D is there."\n"name[D]","Café B."\n',
}
SST2 = {
    "train.tsv": "sentence\tlabel\n" + "".join(f"film {i} was {'fine' if i % 2 else 'poor'} \t{i % 2}\n" for i in range(40)),
    "dev.tsv": "sentence\tlabel\nlong \t0\nfilm 7 was fine \t1\nfilm 9 was fine\t1\nit 's \"great\t1\n",
}
AG_NEWS = {
    "train.csv": "".join(f'"{i % 4 + 1}","Title","Item {i % 4 + 1} of {i}."\n' for i in range(40)),
    "test.csv": '2,"Held out","A ""game""."\n"4","Title","Item 4 of 7."\n',
}


def write_texts(folder: Path, texts: list[str]) -> Path:
    (folder / "texts.txt").write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return folder


def write_json_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps([text]) + "\n" for text in texts), encoding="utf-8")


def write_archive(folder: Path, contents: dict[str, str]) -> dict[str, tuple[str, str]]:
    """An archive laid out as E2E's, of CSV texts by split; the members and digests that belong to it."""
    members = {}
    with zipfile.ZipFile(folder / E2E_ARCHIVE, "w") as archive:
        for name, content in contents.items():
            archive.writestr(E2E_MEMBERS[name][0], content)
            members[name] = (E2E_MEMBERS[name][0], hashlib.md5(content.encode()).hexdigest())
    return members


def write_files(folder: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8", newline="")
    return folder
