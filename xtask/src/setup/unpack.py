"""Unpacks parts of a wheel: unpack.py WHEEL TARGET PREFIX=FOLDER...

A member whose name starts with PREFIX lands in TARGET/FOLDER under the rest of its name. A PREFIX may hold `*` for one
path component. Python's zipfile checks each member's CRC.
"""

import fnmatch
import pathlib
import shutil
import sys
import zipfile

wheel, target, *rules = sys.argv[1:]
counts = dict.fromkeys(rules, 0)
with zipfile.ZipFile(wheel) as archive:
    for member in archive.infolist():
        parts = member.filename.split("/")
        if member.is_dir() or ".." in parts:
            continue
        for rule in rules:
            prefix, folder = rule.split("=", 1)
            wanted = prefix.split("/")
            whole = wanted[-1] != ""
            wanted = [part for part in wanted if part]
            if len(parts) < len(wanted) or (whole and len(parts) != len(wanted)):
                continue
            if not all(fnmatch.fnmatchcase(part, want) for part, want in zip(parts, wanted)):
                continue
            rest = parts[-1:] if whole else parts[len(wanted):]
            path = pathlib.Path(target, folder, *rest)
            path.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(member) as source, open(path, "wb") as sink:
                shutil.copyfileobj(source, sink, 1 << 20)
            counts[rule] += 1
missing = [rule for rule, count in counts.items() if count == 0]
if missing:
    sys.exit(f"{wheel} holds nothing for {', '.join(missing)}")
