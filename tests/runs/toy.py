"""A job without models: numbers are squared, slowly if asked, and can be made to fail."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_info

from roentmod.errors import UnreadableError
from roentmod.runs import Done, Job, Made, Part, Stage, Task, run


@dataclass
class Squares(Job[Path]):
    count: int = 20
    pause: float = 0.0
    note: Path | None = None
    salt: str = ""
    kind = "squares"
    article = "squares"
    record = "squares.json"
    libraries = ("numpy",)

    def identity(self):
        return {"count": self.count, "salt": self.salt}

    def stages(self):
        yield Stage("first", self.count, lambda: (self.part(n) for n in range(self.count)))
        yield Stage.of("second", [Part(f"sum{n}", -n) for n in range(3)])

    def part(self, number):
        return Part(f"n{number}", number)

    def make(self, task: Task) -> Made:
        number = task.part.inputs
        time.sleep(self.pause)
        if self.note:
            with self.note.open("a") as file:
                threads = max(one["num_threads"] for one in threadpool_info())
                file.write(f"{task.part.key} {os.getpid()} {threads}\n")
        made = Made()
        flag = task.folder.parent / f"bad{number}"
        if flag.exists():
            kind = flag.read_text()
            if kind == "unreadable":
                raise UnreadableError("cannot be read")
            if kind == "panic":
                raise BaseException("a panic")
            raise ValueError("a bug\nin two lines")
        made.add("squares", {"number": number, "square": number * number + 0.1})
        made.files[f"files/{task.part.key}.txt"] = f"{number}".encode()
        made.facts["number"] = number
        return made

    def finish(self, done: Done) -> Path:
        done.write_table("squares", {"number": "int64", "square": "float64"})
        done.items(["part", "status", "message"]).to_csv(done.folder / "items.csv", index=False)
        done.record["parts"] = sum(1 for _ in done.parts())
        return done.folder / "squares.parquet"


@dataclass
class Packed(Squares):
    packed: bool = True

    def finish(self, done: Done) -> Path:
        text = b"".join(done.content(p, f) for p, _ in done.parts() for f in done.files(p))
        (done.folder / "all.txt").write_bytes(text)
        return super().finish(done)


if __name__ == "__main__":
    folder, count, pause, workers, note = sys.argv[1:]
    run(
        Squares(int(count), float(pause), Path(note) if note != "-" else None),
        Path(folder),
        workers=workers,
    )
