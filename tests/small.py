"""Folders of small phantoms, drawn in moments, that the painter and the judge understand."""

import roentmod as rm
from roentmod.datasets import load


def write_phantoms(folder, splits, *, first=0, labels=("No Finding",)):
    """Write a phantom of a patient per split named; labels follow each other.

    What a picture is called is not what it shows, which is nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,labels,view,patient_id,age,sex,split"]
    for number, split in enumerate(splits, first):
        drawn = rm.phantom(number, size=192).radiograph
        rm.write(drawn, folder / f"{number}.png", provenance=None)
        label = labels[number % len(labels)]
        lines.append(f"{number}.png,{label},PA,p{number},50,F,{split}")
    (folder / "index.csv").write_text("\n".join(lines) + "\n")
    return load(folder)
